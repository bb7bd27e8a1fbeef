"""Where workers run: `inline` in this process, `local` one process a slot. Both have the face `messages.Worker`."""
