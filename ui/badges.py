"""What a run or pair was made with, as badges."""

from symeq_core.config import Config

from . import theme, words


def of(config: Config) -> list[str]:
    """HTML badges of its learner, data and model."""
    learner, data, kind = config.learner.name, config.data.name, config.model.kind
    return [
        theme.badge(words.LEARNERS[learner], theme.LEARNER[learner]),
        theme.badge(words.DATA[data], theme.NEUTRAL),
        theme.badge(f"{words.MODELS[kind]} {words.code(config.model.latents)}", theme.NEUTRAL),
    ]
