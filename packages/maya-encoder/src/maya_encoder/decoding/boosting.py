"""Phrases that a beam shall prefer (names, terms): a prefix tree over their tokens, with fall-back links.

A text gains `bonus` for each token of each occurrence of a phrase, no more and no less. On the way into a
phrase the gain is lent, so that the beam keeps it, and taken back where the phrase breaks off or the text
ends.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from maya_encoder.decoding.automaton import AutomatonParts, TokenAutomaton
from maya_encoder.tokenizer import Tokenizer


def boost_phrases(
    phrases: Sequence[str] | Mapping[str, float],
    tokenizer: Tokenizer,
    lang: str | None = None,
    bonus: float = 1.0,
) -> TokenAutomaton:
    """What prefers `phrases`, for the option `boost`.

    Args:
        phrases: in native script, written as the model writes; or each with its own bonus.
        tokenizer: the model's.
        lang: language of the phrases; needed where each language has a tokenizer model.
        bonus: natural logarithm added for each token of a phrase; 1 or 2 is much.

    Raises:
        ValueError: no phrase at all, or one without a token.
    """
    bonuses = phrases if isinstance(phrases, Mapping) else dict.fromkeys(phrases, bonus)
    sequences = {phrase: tuple(tokenizer.encode(phrase, lang)) for phrase in bonuses}
    for phrase, tokens in sequences.items():
        if not tokens:
            raise ValueError(f"a phrase to boost must have one token or more, got {phrase!r}")
    weighted = {sequences[phrase]: value for phrase, value in bonuses.items()}
    return boost_tokens(weighted, tokenizer.vocab_size)


def boost_tokens(bonuses: Mapping[tuple[int, ...], float], num_tokens: int) -> TokenAutomaton:
    """The same for token sequences, each with the bonus of one of its tokens; ids are below `num_tokens`."""
    if not bonuses:
        raise ValueError("`boost` needs one phrase or more, got none")
    arcs: dict[tuple[int, int], int] = {}
    lent, earned = [0.0], [0.0]
    for tokens, bonus in bonuses.items():
        state = 0
        for depth, token in enumerate(tokens, start=1):
            if (state, token) not in arcs:
                arcs[state, token] = len(lent)
                lent.append(0.0)
                earned.append(0.0)
            state = arcs[state, token]
            lent[state] = max(lent[state], bonus * depth)
        earned[state] = bonus * len(tokens)
    links = _links(arcs, len(lent), earned)
    weighted = {
        (state, token): (after, lent[after] - lent[state] + earned[after])
        for (state, token), after in arcs.items()
    }
    fallbacks = [(link, lent[link] - lent[state]) for state, link in enumerate(links)]
    finals = [-value for value in lent]
    return TokenAutomaton(
        AutomatonParts(arcs=weighted, fallbacks=fallbacks, finals=finals, num_tokens=num_tokens)
    )


def _links(arcs: Mapping[tuple[int, int], int], num_states: int, earned: list[float]) -> list[int]:
    """The longest proper suffix of each state that is a state; `earned` gains what ends there too."""
    children: list[list[tuple[int, int]]] = [[] for _ in range(num_states)]
    for (state, token), after in arcs.items():
        children[state].append((token, after))
    links = [0] * num_states
    queue = deque([0])
    while queue:
        state = queue.popleft()
        for token, after in children[state]:
            queue.append(after)
            if state:
                link = links[state]
                while link and (link, token) not in arcs:
                    link = links[link]
                links[after] = arcs.get((link, token), 0)
            earned[after] += earned[links[after]]
    return links
