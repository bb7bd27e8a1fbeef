"""`sweep report`: one page about a study that needs nothing else, to be read by anybody.

    Snapshot --facts.py--> Facts --page.py--> report.html        (template.html, report.css, report.js, ECharts embedded)
                                 --figures.py--> PNG or SVG      (matplotlib)

What is said in words is made in Python and stands in the page without any script; the scripts draw. `echarts.min.js` is Apache
ECharts 6.1.0 as npm has it (dist/echarts.min.js), under the licence beside it: no package on PyPI carries it, and charts
that need WebGL (Plotly's parallel coordinates) stay empty on machines without a GPU.

The statistics behind it are plain, for every method and metric:

    trials.py      which trials are trainings of one setting
    intervals.py   Student's and Wilson's intervals, the spread within groups
    importance.py  what a parameter explains, alone and together with others
    settings.py    which setting is best, and by how much
    comparison.py  value against value, everything else being equal
"""
