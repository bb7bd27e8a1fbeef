"""A study's folder: its paths, its database, its lock, and the files that are kept.

Called by `search`, `runner`, `report` and `cli`; calls `study` and `errors`.

    folder            every path of a study's folder
    files             write a small file completely or not at all; read the end of a log
    lock              one session at a time
    store             the database, open for the one session that writes
    database          the database, read by everybody else
    optuna_database   create and open databases through Optuna
    optuna_terms      states, distributions and results in Optuna's terms
    stored_study      the folder's own copy of the study file
    integrity         the checks and repairs before a session continues a study
    retention         which checkpoints and embeddings of finished trials stay
    snapshot          the state of a study at one moment, for status, show and reports
"""
