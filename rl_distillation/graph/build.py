"""The state machine on one screen.

Routers are pure reads of the state: an exception in one would lose the routing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, cast

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.nodes.evaluate import evaluate
from rl_distillation.nodes.generate import generate
from rl_distillation.nodes.judge import judge
from rl_distillation.nodes.prepare import prepare
from rl_distillation.nodes.reward import reward
from rl_distillation.nodes.student import student
from rl_distillation.nodes.teach import teach
from rl_distillation.nodes.teacher import teacher

Node = Callable[[State, Runtime[Context]], dict[str, Any]]


def after_generate(state: State) -> Literal["teacher", "evaluate", "__end__"]:
    """Ask on, or finish when the source had nothing more to give."""
    if state["questions"]:
        return "teacher"
    return "__end__" if state["evaluation"]["episode"] == state["episode"] else "evaluate"


def after_judge(state: State) -> Literal["reward", "teach", "generate", "evaluate"]:
    """Right answers are rewarded first, while the weights are those that gave them."""
    return "reward" if any(v["correct"] for v in state["verdicts"]) else after_reward(state)


def after_reward(state: State) -> Literal["teach", "generate", "evaluate"]:
    """Wrong answers are taught."""
    return "teach" if any(v["correct"] is False for v in state["verdicts"]) else after_teach(state)


def after_teach(state: State) -> Literal["generate", "evaluate"]:
    """Evaluate when it is due."""
    return "evaluate" if state["due"] else "generate"


def after_evaluate(state: State) -> Literal["generate", "__end__"]:
    """On to the next episode, if there is one."""
    return "__end__" if state["last"] else "generate"


def build_graph() -> StateGraph[State, Context]:
    """The distillation loop, ready to be compiled. It is given its models and stores as run-time context."""
    graph = StateGraph(State, context_schema=Context)
    for node in (prepare, generate, teacher, student, judge, reward, teach, evaluate):
        graph.add_node(node.__name__, cast(Any, observed(node)))
    graph.add_edge(START, "prepare")
    graph.add_edge("prepare", "evaluate")
    graph.add_conditional_edges("evaluate", after_evaluate)
    graph.add_conditional_edges("generate", after_generate)
    graph.add_edge("teacher", "student")
    graph.add_edge("student", "judge")
    graph.add_conditional_edges("judge", after_judge)
    graph.add_conditional_edges("reward", after_reward)
    graph.add_conditional_edges("teach", after_teach)
    return graph


def observed(node: Node) -> Node:
    """The node, with its seconds entered in the ledger and its lookups in the state."""

    def run(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        started, before = time.perf_counter(), context.asked()
        episode = state["episode"] + (node is generate)
        context.teacher.episode = context.judge_caller.episode = episode
        changes = node(state, runtime)
        seconds = time.perf_counter() - started
        context.ledger.upsert("timings", [{"episode": episode, "node": node.__name__, "seconds": seconds}])
        asked = {role: state["asked"][role] + count - before[role] for role, count in context.asked().items()}
        return {**changes, "asked": asked}

    run.__name__, run.__doc__ = node.__name__, node.__doc__
    return run
