"""What a program declares about its parameters, told from inside of it before it does anything with them.

`sweep.worker.script.asking` starts the program with a copy of this package that Python imports by itself (`sitecustomize`). The
program runs until it is about to read its arguments; then its parameters are written as JSON, and it ends.

    hook              what happens when Python starts; changes these libraries right after their import
    argparse_options  argparse: parse_args, parse_known_args (simple_parsing and HfArgumentParser are its parsers, too); tyro.cli
    click_options     click: Command.main; typer: Typer.__call__
    configurations    Hydra: the function under hydra.main; W&B: the config of init, if nothing above came before it
    answer            what is written

It imports nothing but Python's own modules, also none of this package, and runs on Python 3.8 too: the program's interpreter may
be another one.
"""
