"""Let explanations decide what may run alone: gates, rules, reviews, monitors, and what they are worth.

    from llm_trace.operations import read_operations

Names are looked up when they are first used.
"""

from __future__ import annotations

from typing import Any

from llm_trace.lazy_names import import_name

_HOMES = {
    "Agreement": "llm_trace.operations.review_agreement",
    "Alarm": "llm_trace.operations.alarms",
    "Canary": "llm_trace.operations.canary",
    "Decision": "llm_trace.operations.gate_state",
    "Diet": "llm_trace.operations.diet_record",
    "DietPart": "llm_trace.operations.diet_record",
    "Figure": "llm_trace.operations.worth_figures",
    "Gate": "llm_trace.operations.gate",
    "GateEvidence": "llm_trace.operations.signals",
    "GateState": "llm_trace.operations.gate_state",
    "Operation": "llm_trace.operations.log",
    "OperationLog": "llm_trace.operations.log",
    "Optimization": "llm_trace.operations.optimize_record",
    "PromotionError": "llm_trace.operations.stages",
    "Review": "llm_trace.operations.reviews",
    "ReviewAudit": "llm_trace.operations.review_audit",
    "ReviewWriter": "llm_trace.operations.reviews",
    "Rule": "llm_trace.operations.rules",
    "RuleDecision": "llm_trace.operations.rules",
    "RuleSet": "llm_trace.operations.rules",
    "RulesTrial": "llm_trace.operations.rules_trial",
    "StageGuard": "llm_trace.operations.stages_guard",
    "SuggestedRule": "llm_trace.operations.rules_record",
    "Suggestions": "llm_trace.operations.rules_record",
    "Worth": "llm_trace.operations.worth_summary",
    "act_on_calls": "llm_trace.operations.rules_actions",
    "choose_version": "llm_trace.operations.canary",
    "diet": "llm_trace.operations.diet_api",
    "end_canary": "llm_trace.operations.canary",
    "judge_canary": "llm_trace.operations.canary",
    "load_rules": "llm_trace.operations.rules_file",
    "make_review": "llm_trace.operations.reviews",
    "measure_reviewer_agreement": "llm_trace.operations.review_agreement",
    "optimize": "llm_trace.operations.optimize_api",
    "parse_rules": "llm_trace.operations.rules_file",
    "promote": "llm_trace.operations.stages",
    "read_operations": "llm_trace.operations.log",
    "read_reviews": "llm_trace.operations.reviews",
    "read_stage": "llm_trace.operations.stages",
    "roll_back": "llm_trace.operations.stages",
    "send_alarm": "llm_trace.operations.alarms",
    "start_canary": "llm_trace.operations.canary",
    "suggest_rules": "llm_trace.operations.rules_suggestions",
    "try_rules": "llm_trace.operations.rules_trial",
    "verify_reviews": "llm_trace.operations.review_audit",
    "watch": "llm_trace.operations.monitors",
    "worth": "llm_trace.operations.worth_summary",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    return import_name(__name__, _HOMES, name)
