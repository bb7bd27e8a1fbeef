"""`sweep report`: one page about a study that needs nothing else, to be read by anybody.

    Snapshot --facts.py--> Facts --page.py--> report.html        (template.html, report.css, report.js, ECharts embedded)
                                 --figures.py--> PNG or SVG      (matplotlib)

What is said in words is made in Python and stands in the page without any script; the scripts draw. `echarts.min.js` is Apache
ECharts 6.1.0 as npm has it (dist/echarts.min.js), under the licence beside it: no package on PyPI carries it, and charts
that need WebGL (Plotly's parallel coordinates) stay empty on machines without a GPU.
"""
