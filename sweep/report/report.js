// Draws the report's charts from the data embedded in the page. Everything that is said in words is in the page already.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const complete = data.trials.filter((trial) => trial.state === "complete" && trial.value !== null);
  const byNumber = new Map(data.trials.map((trial) => [trial.n, trial]));
  const palette = ["#1f6feb", "#d9730d", "#1a9b7b", "#b83280", "#8a6fdf"];
  const states = { complete: "#3fa55f", pruned: "#d5a021", failed: "#d1453b", died: "#d1453b", killed: "#98a2b3", stopped: "#98a2b3", running: "#4a8fe7" };
  let charts = [];

  const escape = (text) => echarts.format.encodeHTML(String(text));
  const digits = (value) => (value === null || value === undefined ? "-" : Number(value.toPrecision(5)).toString());
  const label = (trial) => `trial ${trial.n}<br>${escape(trial.text)}<br>${escape(data.metric)} <b>${digits(trial.value)}</b>`;
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  const quiet = () => getComputedStyle(document.documentElement).getPropertyValue("--quiet").trim();
  const panel = () => getComputedStyle(document.documentElement).getPropertyValue("--panel").trim();
  const line = () => getComputedStyle(document.documentElement).getPropertyValue("--line").trim();

  // Good values are as dark as the background is light.
  const ramp = () => (dark.matches ? ["#33415c", "#6ea8fe", "#ffd166"] : ["#c9d6ea", "#5b8def", "#b5480f"]);

  function draw(element, option) {
    if (!element) return null;
    const chart = echarts.init(element, dark.matches ? "dark" : null, { renderer: "canvas" });
    chart.setOption({
      backgroundColor: "transparent",
      animation: false,
      textStyle: { color: ink(), fontFamily: "system-ui, sans-serif" },
      ...option,
    });
    charts.push(chart);
    return chart;
  }

  const value = (name, more = {}) => ({
    type: "value", name, scale: true, axisLine: { onZero: false, lineStyle: { color: line() } }, nameTextStyle: { color: quiet() }, axisLabel: { color: quiet(), hideOverlap: true },
    splitLine: { lineStyle: { color: line() } }, ...more,
  });

  function importances(element) {
    const items = [...data.importances].reverse();
    const bar = (name, key, color, width) => ({
      name, type: "bar", barWidth: width, barGap: "10%", itemStyle: { color }, data: items.map((item) => item[key]),
    });
    const series = [bar("alone", "alone", palette[0], 11)];
    if (items[0].together !== null) series.push(bar("together with others", "together", palette[1], 11));
    series.push({
      name: "95 % interval", type: "custom", z: 5, itemStyle: { color: ink() }, tooltip: { show: false },
      data: items.map((item, place) => [place, item.low, item.high]),
      renderItem: (params, api) => {
        const shift = items[0].together !== null ? 6 : 0; // beside the bar of `alone`
        const [x1, y] = api.coord([api.value(1), api.value(0)]);
        const [x2] = api.coord([api.value(2), api.value(0)]);
        const style = { stroke: ink(), lineWidth: 1.2 };
        const stroke = (a, b, c, d) => ({ type: "line", shape: { x1: a, y1: b, x2: c, y2: d }, style });
        const middle = y - shift;
        return { type: "group", children: [stroke(x1, middle, x2, middle), stroke(x1, middle - 3, x1, middle + 3), stroke(x2, middle - 3, x2, middle + 3)] };
      },
    });
    element.style.height = `${90 + items.length * 44}px`;
    draw(element, {
      grid: { left: 8, right: 24, top: 34, bottom: 8, containLabel: true },
      legend: { top: 0, textStyle: { color: ink() } },
      tooltip: { trigger: "axis", axisPointer: { type: "shadow" }, valueFormatter: (share) => (typeof share === "number" ? `${Math.round(100 * share)} %` : share) },
      xAxis: value("", { min: 0, max: 1, scale: false, axisLabel: { color: quiet(), formatter: (share) => `${Math.round(100 * share)} %` } }),
      yAxis: { type: "category", data: items.map((item) => item.name), axisLabel: { color: ink() } },
      series,
    });
  }

  // A value outside what is shown is drawn at the edge, as a triangle that points to it.
  function point(at, trial) {
    const [low, high] = data.range;
    if (trial.value > high) return { value: [at, high], trial, symbol: "triangle", symbolSize: 9, ...hollow(trial) };
    if (trial.value < low) return { value: [at, low], trial, symbol: "triangle", symbolSize: 9, symbolRotate: 180, ...hollow(trial) };
    return { value: [at, trial.value], trial, ...hollow(trial) };
  }

  // A trial that breaks a constraint is seen, and seen not to count.
  const hollow = (trial) => (trial.feasible === false ? { itemStyle: { color: "transparent", borderColor: quiet(), borderWidth: 1.2 } } : {});

  // One metric against another. The front of two is joined by steps: what lies beyond them nothing has reached.
  function front(element) {
    const [x, y] = [Number(element.dataset.x), Number(element.dataset.y)];
    const leading = new Set(data.front);
    const known = complete.filter((trial) => trial.values[x] !== null && trial.values[y] !== null);
    const at = (trial) => ({ value: [trial.values[x], trial.values[y]], trial, ...hollow(trial) });
    const best = known.filter((trial) => leading.has(trial.n)).sort((a, b) => a.values[x] - b.values[x]);
    const text = (trial) => `trial ${trial.n}<br>${escape(trial.text)}${data.metrics.map((metric, place) => `<br>${escape(metric.name)} <b>${digits(trial.values[place])}</b>`).join("")}`;
    const steps = data.metrics.length === 2
      ? [{ type: "line", step: data.metrics[x].maximize ? "start" : "end", symbol: "none", silent: true, lineStyle: { color: palette[1], width: 1.5, opacity: 0.7 },
           data: best.map((trial) => [trial.values[x], trial.values[y]]) }]
      : [];
    draw(element, {
      grid: { left: 8, right: 24, top: 34, bottom: 28, containLabel: true },
      tooltip: { formatter: (item) => text(item.data.trial) },
      xAxis: value(data.metrics[x].name, { nameLocation: "middle", nameGap: 26, axisLabel: { color: quiet(), formatter: digits, hideOverlap: true } }),
      yAxis: value(data.metrics[y].name, { axisLabel: { color: quiet(), formatter: digits }, nameTextStyle: { color: quiet(), align: "left" } }),
      series: [
        { type: "scatter", symbolSize: known.length > 300 ? 4 : 7, itemStyle: { color: palette[0], opacity: known.length > 300 ? 0.4 : 0.65 },
          data: known.filter((trial) => !leading.has(trial.n)).map(at) },
        ...steps,
        { type: "scatter", symbolSize: 10, itemStyle: { color: palette[1] }, data: best.map(at), z: 5 },
      ],
    });
  }

  function effect(element) {
    const place = Number(element.dataset.axis);
    const axis = data.axes[place];
    const known = complete.filter((trial) => trial.at[place] !== null);
    const [low, high] = data.range;
    const categories = axis.categories;
    // Spread sideways by the trial's number, so that equal values are seen side by side.
    const points = known.map((trial) => point(categories ? trial.at[place] + (((trial.n * 0.618034) % 1) - 0.5) * 0.5 : trial.at[place], trial));
    const series = [{
      type: "scatter", symbolSize: known.length > 300 ? 4 : 7, itemStyle: { color: palette[0], opacity: known.length > 300 ? 0.4 : 0.65 },
      data: points, clip: false,
    }];
    if (categories) {
      const means = categories.map((_, at) => {
        const values = known.filter((trial) => trial.at[place] === at).map((trial) => trial.value).sort((a, b) => a - b);
        return values.length ? { value: [at, (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2] } : null;
      }).filter(Boolean);
      series.push({ name: "median", type: "scatter", symbol: "rect", symbolSize: [42, 3], itemStyle: { color: palette[1] }, data: means, z: 5 });
    }
    draw(element, {
      title: { text: axis.name, textStyle: { color: ink(), fontSize: 13 }, left: 8, top: 0 },
      grid: { left: 8, right: 16, top: 34, bottom: categories ? 26 : 8, containLabel: true },
      tooltip: { formatter: (item) => (item.data.trial ? label(item.data.trial) : `median ${digits(item.data.value[1])}`) },
      xAxis: categories
        ? value("", {
            min: -0.5, max: categories.length - 0.5, interval: 1, splitLine: { show: false }, scale: false,
            axisTick: { show: false }, axisLabel: { show: false },
          })
        : value("", axis.log ? { type: "log", scale: true, axisLabel: ends(quiet()), ...bounds(known.map((trial) => trial.at[place])) } : {}),
      yAxis: value("", { min: low, max: high, axisLabel: { color: quiet(), formatter: digits, showMinLabel: false } }),
      series: categories ? [...series, names(categories, low)] : series,
    });
  }

  // A logarithmic axis of ECharts reaches to whole powers of ten; these are the data's own ends.
  const bounds = (values) => values.reduce(({ min, max }, at) => ({ min: Math.min(min, at * 0.9), max: Math.max(max, at * 1.1) }), { min: Infinity, max: 0 });

  const ends = (color) => ({ color, formatter: digits, showMinLabel: false, showMaxLabel: false, hideOverlap: true });

  // The categories' names under a numeric axis: points between two categories need one.
  function names(categories, low) {
    return {
      type: "custom", silent: true, clip: false, tooltip: { show: false }, data: categories.map((_, at) => [at, low]),
      renderItem: (params, api) => {
        const [x, y] = api.coord([api.value(0), low]);
        const width = api.size([1, 0])[0];
        return { type: "text", style: { text: categories[api.value(0)], x, y: y + 7, align: "center", fill: ink(), fontSize: 12, width, overflow: "truncate" } };
      },
    };
  }

  function parallel(element) {
    const chosen = document.getElementById("chosen");
    const values = complete.map((trial) => trial.value);
    const last = data.axes.length;
    const axes = data.axes.map((axis, dim) => ({
      dim, name: axis.name,
      ...(axis.categories ? { type: "category", data: axis.categories } : axis.log ? { type: "log", axisLabel: ends(ink()), ...bounds(complete.map((t) => t.at[dim]).filter((at) => at !== null)) } : { type: "value", scale: true }),
    }));
    const [low, high] = data.range;
    axes.push({ dim: last, name: data.metric, type: "value", min: low, max: high, axisLabel: { formatter: digits } });
    const text = (axis, at) => (at === null ? null : axis.categories ? axis.categories[at] : at);
    const rows = complete.map((trial) => [...trial.at.map((at, place) => text(data.axes[place], at)), Math.min(high, Math.max(low, trial.value))]);
    const chart = draw(element, {
      parallel: {
        left: 60, right: 90, top: 40, bottom: 24,
        parallelAxisDefault: {
          nameLocation: "end", nameGap: 14, nameTextStyle: { color: ink(), fontWeight: "bold" }, 
          axisLabel: { color: ink(), hideOverlap: true, backgroundColor: panel(), padding: [1, 3], borderRadius: 3 },
          axisLine: { lineStyle: { color: quiet() } }, z: 20, areaSelectStyle: { width: 22, opacity: 0.35 },
        },
      },
      parallelAxis: axes,
      visualMap: {
        show: false, type: "continuous", dimension: last, min: Math.min(...values, high), max: Math.max(...values, low),
        inRange: { color: data.maximize ? ramp() : [...ramp()].reverse() },
      },
      series: [{
        type: "parallel", lineStyle: { width: complete.length > 200 ? 1 : 1.8, opacity: complete.length > 200 ? 0.45 : 0.75 },
        inactiveOpacity: 0.04, activeOpacity: 0.9, progressive: 2000, data: rows,
      }],
    });
    if (!chart) return;
    chart.on("axisareaselected", () => {
      const active = chart.getModel().getSeriesByIndex(0).getRawIndicesByActiveState("active");
      const picked = active.map((at) => complete[at]).sort((a, b) => (data.maximize ? b.value - a.value : a.value - b.value));
      chosen.textContent = !picked.length ? "" : `${picked.length} of ${complete.length} chosen; the best of them is trial ${picked[0].n} with ${digits(picked[0].value)}, the worst has ${digits(picked[picked.length - 1].value)}.`;
    });
  }

  function curves(element) {
    const place = new Map(data.best.map((number, rank) => [number, rank]));
    const others = [];
    for (const [number, points] of Object.entries(data.curves)) {
      if (!place.has(Number(number)) && points.length > 1) others.push({ coords: points });
    }
    const best = data.best.filter((number) => data.curves[number]).map((number, rank) => ({
      name: `trial ${number}`, type: "line", symbol: data.curves[number].length > 1 ? "none" : "circle", lineStyle: { width: 2.2 }, color: palette[rank],
      data: data.curves[number], z: 5,
    }));
    const points = Object.values(data.curves).flat();
    if (!points.length) { element.replaceWith("No trial reported on the way."); return; }
    const [first, last] = points.reduce(([low, high], [step]) => [Math.min(low, step), Math.max(high, step)], [Infinity, -Infinity]);
    const [low, high] = data.curveRange;
    draw(element, {
      grid: { left: 8, right: 24, top: 40, bottom: 24, containLabel: true },
      legend: { top: 0, type: "scroll", textStyle: { color: ink() } },
      tooltip: {
        trigger: "item",
        formatter: (item) => (item.seriesType === "line" ? `${label(byNumber.get(Number(item.seriesName.slice(6))))}<br>step ${item.data[0]}: ${digits(item.data[1])}` : ""),
      },
      xAxis: value("step", { nameLocation: "middle", nameGap: 26, min: first, max: last > first ? last : first + 1, minInterval: 1, splitLine: { show: false } }),
      yAxis: value("", { min: low, max: high, axisLabel: { color: quiet(), formatter: digits, showMinLabel: false } }),
      series: [
        { name: "others", type: "lines", coordinateSystem: "cartesian2d", polyline: true, silent: true, clip: true,
          lineStyle: { color: quiet(), width: 1, opacity: others.length > 200 ? 0.12 : 0.3, curveness: 0 }, data: others },
        ...best,
      ],
    });
  }

  function history(element) {
    const [low, high] = data.range;
    const place = new Map(data.history.map(([number], at) => [number, at + 1]));
    draw(element, {
      grid: { left: 8, right: 24, top: 16, bottom: 24, containLabel: true },
      tooltip: { formatter: (item) => (item.data.trial ? label(item.data.trial) : `best so far ${digits(item.data[1])}`) },
      xAxis: value("complete trials", { nameLocation: "middle", nameGap: 26, scale: false, min: 0, minInterval: 1, splitLine: { show: false } }),
      yAxis: value("", { min: low, max: high, axisLabel: { color: quiet(), formatter: digits, showMinLabel: false } }),
      series: [
        { type: "scatter", symbolSize: 5, itemStyle: { color: quiet(), opacity: 0.6 }, clip: false,
          data: complete.map((trial) => point(place.get(trial.n), trial)) },
        { type: "line", step: "end", symbol: "none", lineStyle: { width: 2.5, color: palette[1] }, data: data.history.map(([, value], at) => [at + 1, value]) },
      ],
    });
  }

  function timeline(element) {
    const slots = [...new Set(data.busy.map(([slot]) => slot))].sort((a, b) => b - a);
    element.style.height = `${90 + slots.length * 34}px`;
    const end = data.busy.reduce((latest, item) => Math.max(latest, item[2]), 0) || 1;
    const [unit, per] = end > 7200 ? ["hours", 3600] : end > 180 ? ["minutes", 60] : ["seconds", 1];
    draw(element, {
      grid: { left: 8, right: 24, top: 10, bottom: 56, containLabel: true },
      dataZoom: [{ type: "slider", height: 16, bottom: 4, filterMode: "weakFilter", labelFormatter: "" }],
      tooltip: {
        formatter: (item) => {
          const [, began, ended, number, how] = item.data.busy;
          return `${label(byNumber.get(number))}<br>${escape(how)}, ${digits((ended - began) / per)} ${unit}`;
        },
      },
      xAxis: value(unit, { nameLocation: "middle", nameGap: 22, min: 0, max: end / per, scale: false, splitLine: { show: false }, axisLabel: { color: quiet(), formatter: digits, showMinLabel: false } }),
      yAxis: { type: "category", data: slots.map((slot) => `slot ${slot}`), axisLabel: { color: ink() } },
      series: [{
        type: "custom", encode: { x: [1, 2], y: 0 }, clip: true,
        data: data.busy.map((busy) => ({ value: [slots.indexOf(busy[0]), busy[1] / per, busy[2] / per], busy })),
        renderItem: (params, api) => {
          const busy = data.busy[params.dataIndex];
          const [x1, y] = api.coord([api.value(1), api.value(0)]);
          const [x2] = api.coord([api.value(2), api.value(0)]);
          const height = Math.min(22, api.size([0, 1])[1] * 0.7);
          const shape = echarts.graphic.clipRectByRect(
            { x: x1, y: y - height / 2, width: Math.max(1, x2 - x1 - 1), height },
            { x: params.coordSys.x, y: params.coordSys.y, width: params.coordSys.width, height: params.coordSys.height },
          );
          const text = x2 - x1 > 22 ? String(busy[3]) : "";
          return shape && {
            type: "rect", shape: { ...shape, r: 2 }, style: { fill: states[busy[4]] || quiet() },
            ...(text && { textContent: { style: { text, fill: "#fff", fontSize: 11 } }, textConfig: { position: "inside" } }),
          };
        },
      }],
    });
  }

  function drawAll() {
    charts.forEach((chart) => chart.dispose());
    charts = [];
    const chart = (name, make) => {
      const element = document.getElementById(`chart-${name}`);
      if (element) make(element);
    };
    if (complete.length) {
      document.querySelectorAll("figure.front").forEach(front);
      if (data.importances.length) chart("importances", importances);
      document.querySelectorAll("figure.effect").forEach(effect);
      chart("parallel", parallel);
      chart("curves", curves);
      chart("history", history);
    }
    if (data.busy.length) chart("timeline", timeline);
    document.body.dataset.drawn = String(charts.length);
  }

  drawAll();
  dark.addEventListener("change", drawAll);
  addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
})();
