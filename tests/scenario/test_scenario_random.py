"""Whatever happens, in whatever order: the run ends, its ledger balances, it is alike again."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scenes import QUICK, scene

from nsdata.scenario.run import run

PROCESS = st.sampled_from(["worker-0", "worker-1", "port", "writer"]).map(
    lambda name: f'process = "{name}"'
)
WORKER = st.sampled_from(["worker-0", "worker-1"]).map(lambda name: f'process = "{name}"')
RATES = st.sampled_from(["10pps", "1kpps", "20kpps"]).map(lambda rate: f'rate = "{rate}"')
TIMES = st.sampled_from(["1ms", "250ms", "1s"]).map(lambda time: f'for = "{time}"')
ALL = st.sampled_from([
    'drop udp any any -> any any (msg:"x"; sid:7;)', 'alert tcp any any -> any 80 (sid:8;)',
]).map(lambda rule: f"rule_text = '{rule}'")  # fmt: skip
VALUES = st.sampled_from([0, 50, 99]).map(lambda value: f"value = {value}")


def action(do: str, *keys: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An action of this kind, some time."""
    when = st.one_of(
        st.integers(0, 2999).map(lambda ms: f'at = "{ms}ms"'),
        st.integers(1, 3000).map(lambda packets: f"at_packet = {packets}"),
    )
    return st.tuples(when, *keys).map(
        lambda parts: "\n".join(["[[action]]", f'do = "{do}"', *parts]) + "\n"
    )


ACTIONS = st.one_of(
    action("kill", PROCESS), action("stop", PROCESS), action("continue", PROCESS),
    action("bloat", PROCESS, st.just('to = "5gb"')), action("corrupt", WORKER),
    action("rate", RATES), action("pause", TIMES), action("burst", RATES, TIMES),
    action("fallback"), action("restore"), action("restore", st.just("force = true")),
    action("reload", ALL), action("reload"),
    action("sensor", st.just('sensor = "temperature-a"'), VALUES),
    action("fill-disk"), action("free-disk"),
)  # fmt: skip
ODD = (
    QUICK
    + """"restore.automatic" = true
"restore.wait" = "100ms"
"restore.steps" = ["10%:300ms", "100%:300ms"]
"watch.crashes" = 2
"drop-meter.window" = "400ms"
"drop-meter.interval" = "200ms"
"""
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=8), st.booleans(), st.sampled_from(["", 'capacity = "3kpps"']))
@example(
    ['[[action]]\ndo = "kill"\nat = "1s"\nprocess = "worker-0"\n',
     '[[action]]\ndo = "stop"\nat = "1150ms"\nprocess = "worker-0"\n'], False, "",
)  # fmt: skip
def test_the_ledger_balances_whatever_happens(actions: list[str], best: bool, box: str) -> None:
    more = f'"protection.best-effort.enabled" = {str(best).lower()}\n'
    one = scene("".join(actions), duration="3s", settings=ODD + more, box=f"workers = 2\n{box}")
    first, again = run(one), run(one)
    assert first.ok, first.verdicts[0]
    assert first.record.eve == again.record.eve
    assert first.record.ledger == again.record.ledger
    assert first.record.entries == again.record.entries
    ends = [sample.came for sample in first.record.samples]
    assert ends == sorted(ends)
