"""A dashboard out of rows of panels, and its JSON."""

import json
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType, GridPos, VariableRefresh, VariableSort

from .panels import SOURCE, WIDTH


@dataclass(frozen=True)
class Board:
    """What makes a dashboard: its stable name in addresses, its title, what it is for, and rows of (title, panels)."""

    uid: str
    title: str
    purpose: str
    rows: list


def _variables(built: dashboard.Dashboard) -> None:
    built.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    namespaces = dashboard.QueryVariable("namespace").label("Namespace").datasource(SOURCE)
    namespaces.query('label_values(up{job=~"fraud-(api|stream)"}, namespace)')
    namespaces.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    # `.*` also holds where there are no namespaces, as on a laptop.
    built.with_variable(namespaces.multi(True).include_all(True).all_value(".*"))


def written(board: Board) -> str:
    """The dashboard as Grafana reads it: indented, with a line break at the end, the same for the same input."""
    built = dashboard.Dashboard(board.title).uid(board.uid).description(board.purpose).tags(["fraud"])
    built.time("now-1h", "now").refresh("30s").timezone("browser").editable().tooltip(DashboardCursorSync.CROSSHAIR)
    others = dashboard.DashboardLink("Fraud dashboards").type(DashboardLinkType.DASHBOARDS).tags(["fraud"])
    built.link(others.as_dropdown(True).keep_time(True).include_vars(True))
    _variables(built)
    row_y = 0
    number = 1
    for title, panels in board.rows:
        built.with_row(dashboard.Row(title).id(number).grid_pos(GridPos(h=1, w=WIDTH, x=0, y=row_y)))
        number += 1
        x, y, deepest = 0, row_y + 1, 0
        for panel in panels:
            size = panel.build().grid_pos
            if x + size.w > WIDTH:
                x, y, deepest = 0, y + deepest, 0
            built.with_panel(panel.id(number).grid_pos(GridPos(h=size.h, w=size.w, x=x, y=y)))
            number += 1
            x, deepest = x + size.w, max(deepest, size.h)
        row_y = y + deepest
    tree = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    # The builders know no field for an annotation's expression.
    tree["annotations"] = {"list": [_annotation()]}
    for variable in tree["templating"]["list"]:
        # The builders give all variables one id, and fields of another kind of variable.
        for key in ("id", "auto", "auto_count", "auto_min"):
            variable.pop(key)
    tree["templating"]["list"][1]["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _annotation() -> dict:
    """Alerts stand in every picture, so that cause and effect are seen together."""
    return {
        "name": "Alerts",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"(Fraud|AdminNotification).+", alertstate="firing", severity!="info"}',
        "titleFormat": "{{alertname}}",
        "tagKeys": "namespace,severity",
        "step": "60s",
    }
