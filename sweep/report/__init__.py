"""`sweep report`: one HTML page about a study, for any reader; it loads nothing from elsewhere.

Called by the command line and the interface for Python after a session, and by `sweep report`, which also serves it
(`sweep.cli.serve`). `sweep status`, `sweep best` and `StudyResult` have their statements from here, too.

    facts                 everything that is shown in a report, as values
    answer                everything that is said about the results, from the records alone
    sentences, methods    the statements in words; how each kind is computed, and how well it held in simulations
    plain_data            the answer as JSON
    settings              which trials are trainings of one setting; which setting is best, and by how much
    best_setting          the model of settings and seeds
    measured              the metrics of the best setting
    importance            which parameters matter, alone and through each other
    factorial, additive   a complete grid, and a search, as linear models
    shares                the share that a term of a linear model explains, with its interval
    comparison            two values of a parameter, everything else being equal
    settling              what would settle which setting is the best
    intervals             Student's and Wilson's intervals, the variance within groups
    axes, charts          a description of each chart
    frame                 what every page has: report.css, and the scripts; report.js draws the charts with ECharts
    page                  report.html, from study.html
    figures               the same charts as PNG or SVG, by matplotlib
    studies               several studies side by side: what differs, whose best setting is better
    studies_charts, studies_sentences, studies_page
                          their charts on the same axes, statements, and page, from studies.html
    now, live             what runs at this moment; the page of a study while it runs, which live.js keeps up to date

All words are in the page without any script. `echarts.min.js` is Apache ECharts 6.1.0 from npm (dist/echarts.min.js), with its
licence beside it: no package on PyPI has it, and Plotly's parallel coordinates need WebGL.
"""
