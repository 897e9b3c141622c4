"""The obvious way to rank: one query after another, one gallery row after another."""

from __future__ import annotations

from mscmreid.evaluation import ExclusionRule


def ignores(rule: ExclusionRule, q_pid: int, g_pid: int, q_cam: int, g_cam: int) -> bool:
    if (q_cam, g_cam) in rule.camera_pairs:
        return True
    if rule.same_camera and q_cam == g_cam:
        return True
    return rule.same_id_same_camera and q_pid == g_pid and q_cam == g_cam


def rank_slowly(distance, q_pids, g_pids, q_cams, g_cams, rule: ExclusionRule, identity_cmc: bool):
    """Per query (first rank, AP, INP) in fractions, None for a query without a match."""
    values = []
    for i, row in enumerate(distance):
        kept = [j for j in range(len(g_pids)) if not ignores(rule, q_pids[i], g_pids[j], q_cams[i], g_cams[j])]
        kept.sort(key=lambda j: row[j])  # Python's sort is stable
        ranked = [g_pids[j] for j in kept]
        if q_pids[i] not in ranked:
            values.append(None)
            continue
        hits = [rank for rank, pid in enumerate(ranked, start=1) if pid == q_pids[i]]
        ap = sum(number / rank for number, rank in enumerate(hits, start=1)) / len(hits)
        seen: list[int] = []
        for pid in ranked:
            if pid not in seen:
                seen.append(pid)
        first = seen.index(q_pids[i]) + 1 if identity_cmc else hits[0]
        values.append((first, ap, len(hits) / hits[-1]))
    return values
