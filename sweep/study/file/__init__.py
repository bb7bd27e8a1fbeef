"""The study file: read, checked and written beside the results. Called by `cli`, `api` and `storage`.

    text --source--> plain data with lines --schema--> typed values --checks--> StudySpec --writing--> text

The fields of `StudySpec` define the keys (`sweep.study.keys`). Each key is checked by itself, then all keys together, so that one
problem does not hide another.

    values, parameters       the types of values; a parameter's domain
    json_schema, reference   the schema for editors and the table of keys, both derived from the keys
"""
