"""The command line: reads the words, calls the packages below and prints the results.

Called by `python -m sweep` and the program `sweep`.

    main                         one command: errors become messages and exit codes
    commands                     the verbs with their options; each imports what it needs when it is called
    target                       the study and folder that the words STUDY and KEY=VALUE name
    run                          `sweep run`, `sweep resume`
    plan                         `sweep plan`, `sweep check`
    status                       `sweep status`, `sweep best`
    stop, import_, docs, doctor  the verbs of these names
    gpu_trouble                  why a GPU does not compute, for `sweep doctor`
    show, dashboard              `sweep report`, `sweep dashboard`; starting TensorBoard
    completion                   the words to which a shell completes STUDY
    live_view                    a running study, redrawn on a terminal
    tables                       trials as tables with learning curves, CSV and JSON
    words                        words of the command line that mean nothing, and what to type instead
    streams                      standard input and output, whatever they are connected to
"""
