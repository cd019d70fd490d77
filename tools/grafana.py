"""Grafana dashboards from a few words a panel: the classic JSON model, schema version 42.

A dashboard is a list of rows, a row a title and panels of one height; places and ids follow from the order.
Only panel types of today (stat, timeseries, table, state-timeline), no library panels, everything asked of the
data source that the variable `datasource` names. Source: the JSON model in Grafana's documentation, and the
schemas published with grafana-foundation-sdk.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RED_AT_ONE = ((None, "green"), (1, "red"))
GREEN_AT_ONE = ((None, "red"), (1, "green"))
PLAIN = ((None, "green"),)
YES_NO = [{"type": "value", "options": {"1": {"text": "yes", "color": "green", "index": 0},
                                        "0": {"text": "no", "color": "red", "index": 1}}}]


def _thresholds(steps):
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def _target(number, expr, legend=None, instant=False):
    return {"refId": chr(ord("A") + number), "datasource": DATASOURCE, "editorMode": "code",
            "expr": expr, "legendFormat": legend or "__auto",
            "format": "table" if instant and legend is None else "time_series",
            "instant": instant, "range": not instant}


def _panel(kind, title, width, targets, unit, options, help_text, thresholds=PLAIN, **more):
    defaults = {"unit": unit, "mappings": more.get("mappings", []),
                "thresholds": _thresholds(thresholds),
                "color": {"mode": more.get("color", "palette-classic")}}
    for key in ("min", "max", "noValue", "custom"):
        if key in more:
            defaults[key] = more[key]
    panel = {"type": kind, "title": title, "description": help_text, "datasource": DATASOURCE,
             "targets": targets, "options": options,
             "fieldConfig": {"defaults": defaults, "overrides": more.get("overrides", [])},
             "gridPos": {"w": width}}
    if "transformations" in more:
        panel["transformations"] = more["transformations"]
    return panel


def stat(title, expr, unit="short", help_text="", thresholds=PLAIN, width=4, mappings=()):
    """One number, coloured by thresholds, with its course behind it."""
    options = {"graphMode": "area", "colorMode": "value", "justifyMode": "auto", "textMode": "auto",
               "wideLayout": True, "showPercentChange": False, "percentChangeColorMode": "standard",
               "orientation": "auto",
               "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    return _panel("stat", title, width, [_target(0, expr, title)], unit, options, help_text,
                  thresholds, color="thresholds", mappings=list(mappings))


def graph(title, series, unit="short", help_text="", width=8, stack=False, **more):
    """Lines over time. series: {legend: expression}, {{label}} in a legend is the label's value."""
    custom = {"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "showPoints": "never",
              "spanNulls": False, "fillOpacity": 25 if stack else 8,
              "stacking": {"group": "A", "mode": "normal" if stack else "none"}}
    options = {"legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table",
                          "placement": "bottom", "showLegend": True},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    targets = [_target(n, expr, legend) for n, (legend, expr) in enumerate(series.items())]
    return _panel("timeseries", title, width, targets, unit, options, help_text,
                  custom=custom, **{"min": 0, **more})


def timeline(title, expr, legend, help_text="", width=24):
    """1 and 0 over time, a line each."""
    options = {"showValue": "never", "rowHeight": 0.8, "mergeValues": True, "alignValue": "left",
               "legend": {"calcs": [], "displayMode": "list", "placement": "bottom",
                          "showLegend": False},
               "tooltip": {"mode": "single", "sort": "none"}}
    return _panel("state-timeline", title, width, [_target(0, expr, legend)], "short", options,
                  help_text, GREEN_AT_ONE, color="thresholds", mappings=YES_NO,
                  custom={"fillOpacity": 80, "lineWidth": 0})


def column(title, expr, unit="short", mappings=(), thresholds=None):
    """A column of a table: the value of an expression whose labels are the row."""
    return {"title": title, "expr": expr, "unit": unit, "mappings": list(mappings),
            "thresholds": thresholds}


def _override(name, properties):
    return {"matcher": {"id": "byName", "options": name},
            "properties": [{"id": key, "value": value} for key, value in properties.items()]}


def table(title, labels, columns, help_text="", width=24, link=None, sort=None):
    """Rows are sets of labels, {label: heading}. link: (heading, address) of a cell to click on."""
    renamed = {f"Value #{chr(ord('A') + n)}" if len(columns) > 1 else "Value": c["title"]
               for n, c in enumerate(columns)}
    overrides = []
    for c in columns:
        shown = {"unit": c["unit"]}
        if c["mappings"]:
            shown["mappings"] = c["mappings"]
        if c["thresholds"]:
            shown["thresholds"] = _thresholds(c["thresholds"])
        if c["mappings"] or c["thresholds"]:
            shown["custom.cellOptions"] = {"type": "color-text"}
        overrides.append(_override(c["title"], shown))
    if link:
        overrides.append(_override(link[0], {"links": [{"title": "", "url": link[1]}]}))
    order = list(labels) + list(renamed)
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {
            "excludeByName": {"Time": True},
            "indexByName": {name: place for place, name in enumerate(order)},
            "renameByName": {**labels, **renamed}}}]
    options = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm",
               "sortBy": [{"displayName": sort, "desc": True}] if sort else []}
    return _panel("table", title, width,
                  [_target(n, c["expr"], instant=True) for n, c in enumerate(columns)],
                  "short", options, help_text, color="thresholds", overrides=overrides,
                  transformations=transformations, custom={"align": "auto", "filterable": True, "inspect": False})


# --- variables


def datasource_variable():
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
            "hide": 0, "refresh": 1, "regex": "", "multi": False, "includeAll": False, "options": []}


def label_variable(name, label, query, everything=True):
    """The values of a label; all of them at first, or the first."""
    made = {"type": "query", "name": name, "label": label, "datasource": DATASOURCE,
            "definition": query, "hide": 0, "refresh": 2, "sort": 1, "regex": "", "options": [],
            "query": {"qryType": 1, "query": query,
                      "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "multi": everything, "includeAll": everything}
    if everything:
        made["allValue"] = ".*"
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return made


# --- the whole


def _place(rows):
    """Panels with ids and places, left to right and down; a row's panels have one height."""
    panels, y = [], 0
    for title, height, members in rows:
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        x, y = 0, y + 1
        for panel in members:
            width = panel["gridPos"]["w"]
            if x + width > 24:
                x, y = 0, y + height
            panel["gridPos"] = {"h": height, "w": width, "x": x, "y": y}
            panels.append(panel)
            x += width
        y += height
    for number, panel in enumerate(panels):
        panel["id"] = number + 1
    return panels


def dashboard(uid, title, help_text, variables, rows):
    """rows: [(title, height, [panels])]"""
    return {
        "uid": uid, "title": title, "description": help_text, "tags": ["isobar", "wis2"],
        "schemaVersion": 42, "version": 1, "editable": True, "graphTooltip": 1,
        "timezone": "utc", "refresh": "30s", "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": [{
            "name": "Starts of Isobar", "enable": True, "hide": False, "iconColor": "blue",
            "datasource": DATASOURCE, "titleFormat": "Isobar started", "textFormat": "{{instance}}",
            "expr": 'changes(process_start_time_seconds{job="isobar"}[1m]) > 0', "step": "60s"}]},
        "links": [{"title": "Isobar", "type": "dashboards", "tags": ["isobar"], "icon": "dashboard",
                   "tooltip": "", "url": "", "asDropdown": True, "targetBlank": False,
                   "includeVars": False, "keepTime": True}],
        "templating": {"list": variables},
        "panels": _place(rows),
    }
