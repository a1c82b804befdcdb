"""The few kinds of panel that the dashboards are made of.

Every panel has a title, a sentence that says what it means, a unit, and legends. Expressions may use the variables of
Grafana ($__rate_interval, $namespace); `fraud_monitoring.promql.settled` puts values in their place for the checks.
"""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphGradientMode,
    GraphTresholdsStyleMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, DataTransformerConfig, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24


@dataclass(frozen=True)
class Text:
    """What a panel says of itself: its title, a sentence of explanation, and the unit by Grafana's name."""

    title: str
    means: str
    unit: str = "short"


@dataclass(frozen=True)
class Query:
    """An expression and what its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Bounds:
    """From where on a figure is a warning, and from where on it is wrong. `None` for no such bound."""

    warning: float | None = None
    wrong: float | None = None
    #: Small figures are the bad ones.
    falling: bool = False


def _thresholds(bounds: Bounds) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]
    if bounds.falling:
        # From the bottom up: wrong, then a warning, then good.
        steps = [Threshold(value=None, color="red" if bounds.wrong is not None else "yellow")]
        if bounds.wrong is not None:
            steps.append(Threshold(value=bounds.wrong, color="yellow" if bounds.warning is not None else "green"))
        if bounds.warning is not None:
            steps.append(Threshold(value=bounds.warning, color="green"))
    else:
        if bounds.warning is not None:
            steps.append(Threshold(value=bounds.warning, color="yellow"))
        if bounds.wrong is not None:
            steps.append(Threshold(value=bounds.wrong, color="red"))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _targets(panel, queries: list[Query], instant: bool = False, how: PromQueryFormat = PromQueryFormat.TIME_SERIES):
    for index, query in enumerate(queries):
        target = prometheus.Dataquery().ref_id(chr(ord("A") + index)).datasource(SOURCE)
        target.expr(query.expr).legend_format(query.legend).format(how)
        panel.with_target(target.instant() if instant else target.range())
    return panel


def _dressed(panel, text: Text):
    return panel.title(text.title).description(text.means).datasource(SOURCE).unit(text.unit)


def figure(text: Text, query: Query, bounds: Bounds = Bounds()) -> stat.Panel:
    """One number, coloured by its bounds, with its recent course behind it."""
    panel = _dressed(stat.Panel(), text).span(4).height(4).thresholds(_thresholds(bounds))
    panel.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.AREA)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _targets(panel, [query])


def course(text: Text, queries: list[Query], bounds: Bounds = Bounds(), stacked: bool = False) -> timeseries.Panel:
    """Lines over time; with bounds, these are drawn in."""
    panel = _dressed(timeseries.Panel(), text).span(8).height(8).min(0)
    panel.line_width(1).fill_opacity(25 if stacked else 8).show_points(VisibilityMode.NEVER)
    panel.gradient_mode(GraphGradientMode.NONE).span_nulls(False)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if bounds != Bounds():
        panel.thresholds(_thresholds(bounds))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    panel.legend(legend.show_legend(True).calcs(["lastNotNull", "max"]))
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    return _targets(panel, queries)


def spread(text: Text, query: Query) -> heatmap.Panel:
    """How a Prometheus histogram's observations spread over its buckets, over time. The legend must be `{{le}}`."""
    panel = _dressed(heatmap.Panel(), text).span(8).height(8)
    panel.calculate(False).cell_gap(1)
    colors = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges")
    panel.color(colors.scale(HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(64))
    panel.y_axis(heatmap.YAxisConfig().unit(text.unit))
    panel.rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.AUTO))
    panel.cell_values(heatmap.CellValues().unit("reqps"))
    panel.show_legend().show_tooltip()
    return _targets(panel, [query], how=PromQueryFormat.HEATMAP)


def bars(text: Text, query: Query, bounds: Bounds = Bounds()) -> bargauge.Panel:
    """The present value of each series, side by side."""
    panel = _dressed(bargauge.Panel(), text).span(8).height(8).min(0).thresholds(_thresholds(bounds))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _targets(panel, [query], instant=True)


def listing(text: Text, query: Query, hidden: list[str]) -> table.Panel:
    """The labels of the present series as a table, without those in `hidden`."""
    panel = _dressed(table.Panel(), text).span(8).height(8).show_header(True)
    leave_out = {"excludeByName": {name: True for name in ["Time", *hidden]}}
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=leave_out))
    return _targets(panel, [query], instant=True, how=PromQueryFormat.TABLE)
