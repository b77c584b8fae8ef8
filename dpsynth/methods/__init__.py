"""The table of methods. To add one, add its file and a line here."""

import reprlib

from dpsynth.methods import diffusion, dp_feta, dp_ldm, dp_mepf, dp_sapf, dpsda, gans
from dpsynth.methods.method import Method, Options
from dpsynth.params import Params

METHODS: dict[str, Method] = {
    "rpgen": diffusion.RPGEN, "privimage_d": diffusion.PRIVIMAGE_D, "pdp_diffusion": diffusion.PDP_DIFFUSION,
    "dpdm": diffusion.DPDM, "dp_ldm": dp_ldm.DP_LDM, "dp_sapf": dp_sapf.DP_SAPF, "dp_feta": dp_feta.DP_FETA,
    "dpgan": gans.DPGAN, "dpgan_p": gans.DPGAN_P, "privimage_g": gans.PRIVIMAGE_G, "dp_mepf": dp_mepf.DP_MEPF,
    "dpsda": dpsda.DPSDA,
}  # fmt: skip


def options_of(p: Params) -> Options:
    """The options of `p`'s method, validated by its own model.

    Raises:
        ValueError: no such method, no such option, or not such a value.
    """
    model = _method(p).options
    for name in p.options:
        if name not in model.model_fields:
            raise ValueError(_no_option(p.method, name, list(model.model_fields)))
    return model.model_validate(p.options)


def row_of(p: Params) -> Method:
    """The row of `p`'s method as its options have it.

    Raises:
        ValueError: as `options_of`; or the run asks of the method what it cannot do.
    """
    row = _method(p).having(options_of(p))
    if p.epsilon == float("inf") and not row.learn.without_noise:
        raise ValueError(
            f"epsilon: .inf, but {p.method} has no non-private twin: its {row.learn.name} is not defined without noise"
        )
    if row.prior and p.n_classes == 1:
        raise ValueError(f"prior: noisy asks how frequent each label is, and {p.private} has no labels")
    return row


def _method(p: Params) -> Method:
    if p.method not in METHODS:
        raise ValueError(f"no method {reprlib.repr(p.method)}; the table of methods has {', '.join(METHODS)}")
    return METHODS[p.method]


def _no_option(method: str, option: str, own: list[str]) -> str:
    """What is said of an option that the method lacks: whose it is, if anybody's."""
    owners = [name for name, row in METHODS.items() if option in row.options.model_fields]
    elsewhere = f" (it is one of {', '.join(owners)})" if owners else ""
    return f"{method} has no option {option!r}; its own are {', '.join(own)}{elsewhere}"
