"""Stage `judge`: a chat model reads the answers of stage `steering`, beside the rules of the tasks (Table 3).

Each different answer of a task is asked about once; replies are kept on disk as they come, so a killed stage asks for
none of them again. Without a chat model (`steering.judge.kind = "labels"`) or without steered answers the tables are
empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ard import tables
from ard.answer_cache import AnswerCache
from ard.chat_form import ANSWERED, MALFORMED, UNANSWERED
from ard.exchanges import Asker, Exchange
from ard.steering_judge import Choice, agreement, question, read_choice, verdict_of
from ard.steering_task import SteeringTask, Verdict, wilson
from precompute.naming import cache_path
from precompute.stages.base import Context, StageError
from precompute.steering_rows import Row, key_of
from precompute.steering_tasks import tasks_of

Key = tuple[str, str, str]
Read = dict[tuple[Key, str], Verdict]
"""What the chat model read in an answer to a task; answers without a usable reading are not in it."""
TABLES = ("judgements", "judge_agreement", "steering_judged")
FIGURE = ("method", "comparator", "sae_id", "control", "latent_id", "value")


def run(ctx: Context) -> None:
    """Write the tables of `TABLES`."""
    wanted, there = ctx.config.steering.judge.kind != "labels", ctx.run.has("steering_answers")
    if wanted and not there:
        ctx.say("nothing to judge: stage steering has not run; the tables are empty")
    if not wanted or not there:
        for name in TABLES:
            ctx.out.write(name, tables.empty(name))
        return
    rows = ctx.run.read("steering_answers").to_pylist()
    tasks = {(one.task.kind, one.task.source, one.task.target): one.task for one in tasks_of(ctx)}
    exchanges = _asked(ctx, rows, tasks)
    named = {(key, answer): _judgement(ctx, tasks[key], answer, e) for (key, answer), e in exchanges.items()}
    read: Read = {place: row["verdict"] for place, row in named.items() if row["verdict"]}
    judge = ctx.models.judge.name
    agreed = list(_agreement(rows, read, judge))
    ctx.out.write("judgements", tables.from_rows("judgements", named.values()))
    ctx.out.write("judge_agreement", tables.from_rows("judge_agreement", agreed))
    ctx.out.write("steering_judged", tables.from_rows("steering_judged", _judged(rows, read, judge)))
    if agreed and agreed[0]["agreement"] is not None:
        kappa = agreed[0]["kappa"]
        ctx.say(
            f"{judge} and the rules agree on {agreed[0]['agreement']:.1%} of {agreed[0]['answers']:,} answers, κ "
            + ("not defined" if kappa is None else f"{kappa:.2f}")
        )


def _asked(ctx: Context, rows: list[Row], tasks: dict[Key, SteeringTask]) -> dict[tuple[Key, str], Exchange[Choice]]:
    """The settled exchange about each different answer of each task."""
    part = ctx.config.steering.judge
    places = dict.fromkeys((_key(r), r[which]) for r in rows for which in ("baseline", "steered"))
    unknown = [key for key, _ in places if key not in tasks]
    if unknown:
        raise StageError(
            f"steering_answers holds the task {' '.join(unknown[0])}, which the configuration no longer has; run the "
            "stage steering again."
        )
    found: dict[tuple[Key, str], Exchange[Choice]] = {
        (key, answer): Exchange.about(question(tasks[key], answer, part.prompt)) for key, answer in places
    }
    with ctx.counter("reply") as bar:
        cache = AnswerCache(cache_path(ctx.run, "judgements"))
        asker = Asker(ctx.models.judge, cache, read_choice, attempts=part.attempts, done=lambda n: bar.update(n))
        asker.settle(list(found.values()))
    t = asker.totals
    ctx.say(
        f"{asker.chat.name}: {t.questions:,} answers, {t.replies:,} replies now and {t.kept:,} kept from before, "
        f"{t.prompt_tokens:,} + {t.completion_tokens:,} tokens"
    )
    for status in (MALFORMED, UNANSWERED):
        failed = sum(e.status == status for e in found.values())
        if failed:
            ctx.say(f"{failed:,} answers without a verdict: {status}")
    return found


def _key(row: Row) -> Key:
    return row["task"], row["source"], row["target"]


def _judgement(ctx: Context, task: SteeringTask, answer: str, exchange: Exchange[Choice]) -> Row:
    model, revision = exchange.who(ctx.models.judge)
    prompt_tokens, completion_tokens = exchange.tokens
    return {
        **key_of(task),
        "answer": answer,
        "model": model,
        "revision": revision,
        "question": exchange.messages[0]["content"],
        "replies": [reply.text for reply in exchange.replies],
        "verdict": None if exchange.answer is None else verdict_of(task, exchange.answer),
        "status": "judged" if exchange.status == ANSWERED else exchange.status,
        "reason": exchange.reason,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
    }


def _agreement(rows: list[Row], read: Read, judge: str) -> Iterable[Row]:
    """All tasks together, then each; an untouched answer counts once a clip, a steered one once a row."""
    given: dict[Key, list[tuple[str, Verdict]]] = {}
    untouched: set[tuple[Key, str]] = set()
    for r in rows:
        key = _key(r)
        mine = given.setdefault(key, [])
        mine.append((r["steered"], r["verdict"]))
        if (key, r["clip_id"]) not in untouched:
            untouched.add((key, r["clip_id"]))
            mine.append((r["baseline"], r["baseline_verdict"]))
    everything: list[tuple[Key, str, Verdict]] = [(k, a, v) for k, mine in given.items() for a, v in mine]
    if not everything:
        return
    for which in (None, *given):
        some = [(k, a, v) for k, a, v in everything if which in (None, k)]
        both = [(v, read[k, a]) for k, a, v in some if (k, a) in read]
        names = dict(zip(("task", "source", "target"), which or ("all", None, None), strict=True))
        yield {
            **names,
            "judge": judge,
            "distinct": len({(k, a) for k, a, _ in some if (k, a) in read}),
            "unjudged": len(some) - len(both),
            **agreement([v for v, _ in both], [j for _, j in both])._asdict(),
        }


def _judged(rows: list[Row], read: Read, judge: str) -> list[Row]:
    """The figures with the chat model's verdicts: of the samples that it reads as the source, those it reads turned."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for r in rows:
        pooled = r["control"] == "random_latent"
        what = tuple(None if pooled and name == "latent_id" else r[name] for name in FIGURE)
        groups.setdefault((*_key(r), *what), []).append(r)
    out = []
    for place, mine in groups.items():
        pairs = [(read.get((_key(r), r["baseline"])), read.get((_key(r), r["steered"]))) for r in mine]
        known = [(before, after) for before, after in pairs if before and after]
        moved = [after for before, after in known if before == "source"]
        turned, interval = moved.count("target"), wilson(moved.count("target"), len(moved))
        out.append(
            {
                **dict(zip(("task", "source", "target", *FIGURE), place, strict=True)),
                "judge": judge,
                "samples": len(moved),
                "sensitivity": turned / len(moved) if moved else None,
                "sensitivity_low": interval.low,
                "sensitivity_high": interval.high,
                "degenerate": sum(a == "degenerate" for _, a in known) / len(known) if known else None,
            }
        )
    return out
