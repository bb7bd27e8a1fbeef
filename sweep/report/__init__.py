"""`sweep report`: one HTML page about a study, for any reader; it loads nothing from elsewhere.

Called by the command line and the interface for Python after a session, and by `sweep report`. `sweep status` and `sweep best`
use the importances.

    facts                 everything that is computed for a report, as values
    settings              which trials are trainings of one setting; which setting is best, and by how much
    importance            what a parameter explains, alone and together with others
    comparison            two values of a parameter, everything else being equal
    intervals             Student's and Wilson's intervals, the variance within groups
    sentences             the conclusions in words
    axes, charts          a description of each chart
    page                  report.html, from template.html and report.css; report.js draws the charts with ECharts
    figures               the same charts as PNG or SVG, by matplotlib

All words are in the page without any script. `echarts.min.js` is Apache ECharts 6.1.0 from npm (dist/echarts.min.js), with its
licence beside it: no package on PyPI has it, and Plotly's parallel coordinates need WebGL.
"""
