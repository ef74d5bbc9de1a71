"""What reading in pages costs is computed from the pages and the ceiling, and is said for nothing that has none."""

from __future__ import annotations

from monitor.model.log import Mode, Protocol
from monitor.watch import cost
from monitor.watch.options import WatchOptions

OPTIONS = WatchOptions(v1_requests_per_second=20, ct_requests_per_second=10)


def test_a_page_of_rekor_v1_has_ten_entries_and_one_of_a_certificate_log_many() -> None:
    v1, ct = cost.of_leaves(Protocol.REKOR_V1, 86_401, OPTIONS), cost.of_leaves(Protocol.RFC6962, 1001, OPTIONS)
    assert v1 is not None
    assert ct is not None
    assert (v1.requests, v1.seconds, v1.volume) == (8641, 8641 / 20, 86_401 * 6000)
    assert (ct.requests, ct.seconds) == (2, 0.2)


def test_tiles_have_no_ceiling() -> None:
    assert cost.of_leaves(Protocol.REKOR_V2, 1_000_000, OPTIONS) is None
    assert cost.of_leaves(Protocol.STATIC_CT, 1_000_000, OPTIONS) is None


def test_following_rekor_v1_completely_is_said_once_a_server_and_with_its_ceiling() -> None:
    said = cost.complete_v1(
        [
            ("rekor.example - 1", Protocol.REKOR_V1, Mode.COMPLETE),
            ("rekor.example - 2", Protocol.REKOR_V1, Mode.COMPLETE),
            ("other.example - 3", Protocol.REKOR_V1, Mode.CERTIFICATES),
            ("log2026-1.example", Protocol.REKOR_V2, Mode.COMPLETE),
        ],
        OPTIONS,
    )
    assert len(said) == 1
    assert said[0].startswith("rekor.example is read complete")
    for part in ("14 to 23 requests a second", "about 90 GB a day, for ever", "20 requests a second now"):
        assert part in said[0]
