// Draws the charts that sweep/report/charts.py describes. All words and tables are in the page without this script.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const trials = new Map(data.trials.map((trial) => [trial.n, trial]));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const palette = ["#1f6feb", "#d9730d", "#1a9b7b", "#b83280", "#8a6fdf"];
  const states = { complete: "#3fa55f", pruned: "#d5a021", failed: "#d1453b", died: "#d1453b", running: "#4a8fe7" };
  const BEST = 1;
  const charts = new Map(data.charts.map((chart) => [chart.name, chart])), drawn = new Map(); // by their names

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const colour = (place) => palette[place] || css("quiet");
  const escape = (text) => echarts.format.encodeHTML(String(text));
  const digits = (value) => (value === null || value === undefined ? "-" : Number(value.toPrecision(5)).toString());
  const percent = (share) => (typeof share === "number" ? `${Math.round(100 * share)} %` : share);
  const within = (value, [low, high]) => Math.min(high, Math.max(low, value));

  function label(number) {
    const { text, value, values = [value], name = `trial ${number}` } = trials.get(number);
    return [escape(name), escape(text), ...data.metrics.map(({ name: metric }, at) => `${escape(metric)} <b>${digits(values[at])}</b>`)].join("<br>");
  }

  // A point outside the range is a triangle at the edge that points outwards.
  function point([x, y, number], range) {
    const value = [x, range ? within(y, range) : y];
    const outside = value[1] === y ? {} : { symbol: "triangle", symbolSize: 9, symbolRotate: y > value[1] ? 0 : 180 };
    return { value, number, ...outside };
  }

  function steps(one, step) {
    return { type: "line", step, symbol: "none", z: 4, lineStyle: { width: 2 }, color: colour(one.colour), data: one.data };
  }

  // The options of ECharts for a series of each kind of mark.
  const marks = {
    points(one, chart) {
      const many = one.data.length > 300, best = one.colour === BEST;
      return {
        type: "scatter", clip: false, z: best ? 5 : 2, symbolSize: best ? 10 : many ? 4 : 7,
        itemStyle: { color: colour(one.colour), opacity: best ? 1 : many ? 0.4 : 0.65 }, data: one.data.map((at) => point(at, chart.scales[1].range)),
      };
    },
    rings: (one, chart) => ({ ...marks.points(one, chart), itemStyle: { color: "transparent", borderColor: css("quiet"), borderWidth: 1.2 } }),
    dashes: (one) => ({ type: "scatter", symbol: "rect", symbolSize: [42, 3], z: 5, itemStyle: { color: colour(one.colour) }, data: one.data }),
    before: (one) => steps(one, "start"),
    after: (one) => steps(one, "end"),
    curves(one) {
      if (one.colour < 0) {
        const lineStyle = { color: css("quiet"), width: 1, opacity: one.data.length > 200 ? 0.12 : 0.3 };
        return { type: "lines", coordinateSystem: "cartesian2d", polyline: true, silent: true, clip: true, lineStyle, data: one.data.filter(([, points]) => points.length > 1).map(([, coords]) => ({ coords })) };
      }
      const [[number, points]] = one.data;
      return { type: "line", z: 5, symbol: points.length > 1 ? "none" : "circle", lineStyle: { width: 2.2 }, color: colour(one.colour), data: points.map((value) => ({ value, number })) };
    },
    bars(one) {
      const bar = { type: "bar", barWidth: 11, itemStyle: { color: colour(one.colour) }, data: one.data.map(([length]) => length) };
      const interval = {
        type: "custom", z: 6, silent: true, tooltip: { show: false }, data: one.data.map(([, low, high], row) => [low, row, high]),
        renderItem(params, api) {
          const [x1, y] = api.coord([api.value(0), api.value(1)]), [x2] = api.coord([api.value(2), api.value(1)]);
          const stroke = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: css("ink"), lineWidth: 1.2 } });
          return { type: "group", children: [stroke(x1, y, x2, y), stroke(x1, y - 3, x1, y + 3), stroke(x2, y - 3, x2, y + 3)] };
        },
      };
      return [bar, interval];
    },
    spans: (one) => ({
      type: "custom", encode: { x: [1, 2], y: 0 }, clip: true, data: one.data.map(([row, start, end, number, how]) => ({ value: [row, start, end], number, how })),
      renderItem(params, api) {
        const [, , , number, how] = one.data[params.dataIndex];
        const [x1, y] = api.coord([api.value(1), api.value(0)]), [x2] = api.coord([api.value(2), api.value(0)]);
        const height = Math.min(22, api.size([0, 1])[1] * 0.7);
        const shape = echarts.graphic.clipRectByRect({ x: x1, y: y - height / 2, width: Math.max(1, x2 - x1 - 1), height }, params.coordSys);
        const text = { textContent: { style: { text: String(number), fill: "#fff", fontSize: 11 } }, textConfig: { position: "inside" } };
        return shape && { type: "rect", shape: { ...shape, r: 2 }, style: { fill: states[how] || css("quiet") }, ...(x2 - x1 > 22 && text) };
      },
    }),
  };

  function tooltip(chart, item) {
    const { number, how, value } = item.data;
    if (how) return `${label(number)}<br>${escape(how)}, ${digits(value[2] - value[1])} ${chart.scales[0].label}`;
    if (number === undefined) return `${escape(item.seriesName)} ${digits(item.value[1])}`;
    return item.seriesType === "line" ? `${label(number)}<br>step ${value[0]}: ${digits(value[1])}` : label(number);
  }

  function axis(scale, side, width) {
    const rule = { lineStyle: { color: css("line") } }, quiet = { color: css("quiet") };
        const name = side === "x" ? { nameLocation: "middle", nameGap: 26, nameTextStyle: quiet } : { nameTextStyle: { ...quiet, align: "left" } };
    const common = { name: scale.label, ...name, axisLine: { onZero: false, ...rule } };
    const ink = { color: css("ink") };
    if (scale.names && side === "y") return { ...common, type: "category", data: scale.names, axisLabel: ink };
    if (scale.names) { // points between two names need an axis of numbers
      const text = { customValues: scale.names.map((_, at) => at), formatter: (at) => scale.names[at], width: width / scale.names.length, overflow: "truncate", interval: 0 };
      return { ...common, type: "value", min: -0.5, max: scale.names.length - 0.5, splitLine: { show: false }, axisTick: { show: false }, axisLabel: { ...ink, ...text } };
    }
    const ends = !scale.range || scale.share || scale.whole; // labels at the ends of a range are long, or overlap the other axis' labels
    return {
      ...common, type: scale.log ? "log" : "value", scale: true, min: scale.range?.[0], max: scale.range?.[1], ...(scale.whole && { minInterval: 1 }), splitLine: { ...rule, show: side === "y" },
      axisLabel: { ...quiet, hideOverlap: true, formatter: scale.share ? percent : digits, showMinLabel: ends, showMaxLabel: ends || !scale.log },
    };
  }

  function plane(element, chart) {
    const rows = chart.scales[1].names, spans = chart.series[0].mark === "spans", bars = chart.series[0].mark === "bars";
    if (rows) element.style.height = `${90 + rows.length * 40}px`;
    const series = chart.series.flatMap((one) => [marks[one.mark](one, chart)].flat().map((option) => ({ name: one.name, ...option })));
    return {
      grid: { left: rows ? 24 : 8, right: 24, top: 34, bottom: spans ? 56 : 28, containLabel: true },
      legend: { top: 0, right: 8, type: "scroll", textStyle: { color: css("ink") }, data: chart.series.map(({ name }) => name).filter(Boolean), formatter: (name) => name.split(": ")[0] },
      tooltip: bars ? { trigger: "axis", axisPointer: { type: "shadow" }, valueFormatter: percent } : { formatter: (item) => tooltip(chart, item) },
      ...(spans && { dataZoom: [{ type: "slider", height: 16, bottom: 4, filterMode: "weakFilter", labelFormatter: "" }] }),
      xAxis: axis(chart.scales[0], "x", element.clientWidth), yAxis: axis(chart.scales[1], "y"), series,
    };
  }

  function parallel(chart) {
    const [{ data: rows }] = chart.series, last = chart.scales.length - 1;
    const { range } = chart.scales[last], values = rows.map((row) => row[last]);
    const ramp = dark.matches ? ["#33415c", "#6ea8fe", "#ffd166"] : ["#c9d6ea", "#5b8def", "#b5480f"]; // good values stand out
    const many = rows.length > 200, ink = css("ink");
    return {
      parallel: {
        left: 60, right: 90, top: 40, bottom: 24,
        parallelAxisDefault: {
          nameLocation: "end", nameGap: 14, nameTextStyle: { color: ink, fontWeight: "bold" }, axisLine: { lineStyle: { color: css("quiet") } },
          axisLabel: { color: ink, hideOverlap: true, backgroundColor: css("panel"), padding: [1, 3], borderRadius: 3, formatter: (at) => (typeof at === "number" ? digits(at) : at) },
          z: 20, areaSelectStyle: { width: 22, opacity: 0.35 },
        },
      },
      parallelAxis: chart.scales.map(({ label: name, names, log, range: shown }, dim) => ({
        dim, name, min: shown?.[0], max: shown?.[1], type: names ? "category" : log ? "log" : "value", scale: true,
        ...(names && { data: names }), ...(log && { axisLabel: { showMinLabel: false, showMaxLabel: false } }),
      })),
      visualMap: {
        show: false, type: "continuous", dimension: last, min: Math.min(...values, range[1]), max: Math.max(...values, range[0]),
        inRange: { color: data.metrics[0].maximize ? ramp : ramp.reverse() },
      },
      series: [{
        type: "parallel", lineStyle: { width: many ? 1 : 1.8, opacity: many ? 0.45 : 0.75 }, inactiveOpacity: 0.04, activeOpacity: 0.9, progressive: 2000,
        data: rows.map((row) => chart.scales.map(({ names }, at) => (names && row[at] !== null ? names[row[at]] : at === last ? within(row[at], range) : row[at]))),
      }],
    };
  }

  // Rows are in the order of the metric, the best last.
  function select(instance, rows) {
    const selected = instance.getModel().getSeriesByIndex(0).getRawIndicesByActiveState("active").sort((a, b) => a - b).map((at) => rows[at]);
    const [worst] = selected, best = selected[selected.length - 1], value = (row) => digits(row[row.length - 2]);
    document.getElementById("selected").textContent = !selected.length ? ""
      : `${selected.length} of ${rows.length} selected; the best of them is trial ${best[best.length - 1]} with ${value(best)}, the worst has ${value(worst)}.`;
  }

  function drawChart(chart) {
    const element = document.getElementById(`chart-${chart.name}`), lines = chart.series[0].mark === "lines";
    if (!element) return;
    const option = lines ? parallel(chart) : plane(element, chart);
    let instance = echarts.getInstanceByDom(element);
    if (instance) instance.resize();
    else instance = echarts.init(element, dark.matches ? "dark" : null, { renderer: "canvas" });
    const [zoom] = instance.getOption()?.dataZoom || [];
    instance.setOption({ backgroundColor: "transparent", animation: false, textStyle: { color: css("ink"), fontFamily: "system-ui, sans-serif" }, ...option }, true);
    if (zoom && option.dataZoom) instance.dispatchAction({ type: "dataZoom", start: zoom.start, end: zoom.end });
    instance.off("axisareaselected");
    if (lines) instance.on("axisareaselected", () => select(instance, chart.series[0].data));
    drawn.set(chart.name, instance);
  }

  function draw() {
    drawn.forEach((instance) => instance.dispose());
    drawn.clear();
    charts.forEach(drawChart);
    document.body.dataset.drawn = String(drawn.size);
  }

  // A changed chart is drawn again as soon as it is near the window: a reader sees few at a time.
  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
    near.unobserve(target);
    drawChart(charts.get(target.id.slice("chart-".length)));
  }), { rootMargin: "400px" });

  // Shows newer descriptions of some charts, and the trials that they name; all at once if nothing newer will come.
  function show(newer, last) {
    for (const trial of newer.trials) trials.set(trial.n, trial);
    for (const chart of newer.charts) {
      const element = document.getElementById(`chart-${chart.name}`), before = JSON.stringify(charts.get(chart.name));
      charts.set(chart.name, chart);
      if (!element) continue;
      if (last) setTimeout(drawChart, 0, chart);
      else if (before !== JSON.stringify(chart) || !echarts.getInstanceByDom(element)) {
        near.unobserve(element); // observing it again tells whether it is near now
        near.observe(element);
      }
    }
    for (const [name, instance] of drawn) if (!instance.getDom().isConnected) {
      instance.dispose();
      drawn.delete(name);
    }
  }

  draw();
  dark.addEventListener("change", draw);
  addEventListener("resize", () => drawn.forEach((instance) => instance.resize()));
  globalThis.sweepReport = { data, show };
})();
