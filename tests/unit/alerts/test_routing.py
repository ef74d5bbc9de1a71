from __future__ import annotations

from monitor.alerts.routing import Route, pages, sinks_for
from monitor.model.finding import Severity


def test_a_sink_is_told_what_its_route_takes() -> None:
    routes = (Route("pager", Severity.CRITICAL), Route("slack", Severity.MEDIUM), Route("console"))
    assert sinks_for(Severity.CRITICAL, routes) == ("pager", "slack", "console")
    assert sinks_for(Severity.HIGH, routes) == ("slack", "console")
    assert sinks_for(Severity.LOW, routes) == ("console",)


def test_what_no_route_takes_goes_to_all_of_them() -> None:
    routes = (Route("pager", Severity.CRITICAL), Route("slack", Severity.HIGH))
    assert sinks_for(Severity.LOW, routes) == ("pager", "slack")


def test_only_critical_news_wakes_people_and_history_never_does() -> None:
    assert [s for s in Severity if pages(s, history=False)] == [Severity.CRITICAL]
    assert not any(pages(s, history=True) for s in Severity)
