"""Privacy bugs planted by hand: those that the published code of this field had, and their kin.

A bug is a patch, (file below dpsynth/, text that occurs there once, what it becomes), or several. Where it was seen in
the wild, the name says so in brackets.
"""

from typing import NamedTuple

from planted_in_stages import IN_STAGES


class Bug(NamedTuple):
    """One planted bug."""

    name: str
    patches: tuple[tuple[str, str, str], ...]


def _bug(name: str, *patch: str) -> Bug:
    return Bug(name, tuple(zip(patch[::3], patch[1::3], patch[2::3], strict=True)))


NOISE = 'return charge.coins.normals(("noise", step, number), model.parameters[number].numel())'
NORMALS = "records = self._drawn(charge, step)\n\n        def normals("
SUMMED = 'noise = charge.coins.normals(("noise", step), table.size)'
COUNTS = 'noise = charge.coins.discrete_gaussians(("noise", step), histogram.size, mechanism.scale)'
PRIVATE, LEDGER, CHAIN, KEYS = (f"privacy/{n}.py" for n in ("private", "ledger", "chain", "keys"))
MECHANISMS, PLAN, ACCOUNTING, COINS = (f"privacy/{n}.py" for n in ("mechanisms", "plan", "accounting", "coins"))
CERTIFICATE, CALIBRATION = "budget/certificate.py", "budget/calibration.py"
CLIP, SUMS, MODEL, RANKS = (f"privacy/engine/{n}.py" for n in ("clip", "sums", "model", "ranks"))
CARRIERS, PHILOX = (f"privacy/engine/{n}.py" for n in ("carriers", "philox"))
NORMS = "norms = [_norms(piece) for block in self.blocks for piece in _pieces(block)]"

BUGS = (
    _bug("uniform noise on the histogram [PrivImage]", PRIVATE, COUNTS,
         'noise = (charge.coins.uniforms(("noise", step), histogram.size) * mechanism.scale).astype(np.int64)'),
    _bug("uniform noise on the gradients", PRIVATE, NOISE,
         'return charge.coins.uniforms(("noise", step, number), model.parameters[number].numel()) * 3.4641 - 1.7320'),
    _bug("noise that is too small for K views", PRIVATE, "noisy = total + mechanism.scale * ",
         "noisy = total + mechanism.scale / mechanism.noise_multiplicity * "),
    _bug("standard deviation without C", MECHANISMS, "return self.noise_multiplier * self.bound",
         "return self.noise_multiplier"),
    _bug("a histogram's deviation without the root of its votes", MECHANISMS,
         "return self.noise_multiplier * self.sensitivity", "return self.noise_multiplier"),
    _bug("views clipped one by one [DP-LoRA]", SUMS,
         "    views = mechanism.noise_multiplicity\n",
         "    views = mechanism.noise_multiplicity\n    if views > 1:\n        import dataclasses\n"
         "        one = dataclasses.replace(mechanism, noise_multiplicity=1)\n"
         "        many = [r for r in records for _ in range(views)]\n"
         "        return clipped_sum(model, loss, images, labels, many, one, coins, step, microbatch)\n"),
    _bug("the sum is clipped, not its parts", CLIP,
         "    norms = torch.stack([part.squares() for part in parts]).sum(0).sqrt()\n    finite = norms",
         "    parts = [Materialised([part.per_example().sum(0, keepdim=True)]) for part in parts]\n"
         "    norms = torch.stack([part.squares() for part in parts]).sum(0).sqrt()\n    finite = norms"),
    _bug("each tensor is clipped to C by itself", CLIP, "return [part.weighted_sum(factors) for part in parts]\n",
         "return [part.weighted_sum(clip_factors(part.squares().sqrt(), max_grad_norm)) for part in parts]\n"),
    _bug("half of a convolution's norm is forgotten", CLIP, NORMS, NORMS.replace("self.blocks", "self.blocks[:2]")),
    _bug("products are clipped by half their norm", CLIP, "return exact.clamp(min=0) + ",
         "return exact.clamp(min=0) / 4 + "),
    _bug("what rounding hides of a norm is believed", CLIP, "return exact.clamp(min=0) + terms", "return exact.clamp(min=0) + 0 * terms"),
    _bug("the padding of a micro-batch counts", MODEL, "part.select(slice(count))", "part.select(slice(None))"),
    _bug("no clip at all", CLIP, "return bound * MARGIN / norms.clamp(min=bound * MARGIN)",
         "return torch.ones_like(norms)"),
    _bug("every gradient is scaled to C, as if small ones were too", CLIP,
         "return bound * MARGIN / norms.clamp(min=bound * MARGIN)", "return bound * 1.01 / norms.clamp(min=1e-12)"),
    _bug("noise before the clip", PRIVATE, "noisy = total + mechanism.scale * noise.view_as(total)",
         "noisy = total + mechanism.scale * noise.view_as(total)\n"
         "                noisy = noisy * (mechanism.max_grad_norm / noisy.norm()).clamp(max=1)"),
    _bug("divisor is the realised batch [DP-FETA, DP-MEPF]", PRIVATE,
         "mean = mechanism.snapped(noisy) / mechanism.divisor", "mean = mechanism.snapped(noisy) / max(1, len(records))"),
    _bug("divisor is int(N q) [Opacus]", PRIVATE, "mean = mechanism.snapped(noisy) / mechanism.divisor",
         "mean = mechanism.snapped(noisy) / max(1, int(len(self._images) * mechanism.sample_rate))"),
    _bug("a total's divisor is the realised count", PRIVATE, "from_numpy(mechanism.snapped(noisy) / mechanism.divisor)",
         "from_numpy(mechanism.snapped(noisy) / max(1, len(self._images)))"),
    _bug("the low digits of a sum leave with it", MECHANISMS, "return (noisy / grid).round() * grid", "return noisy"),
    _bug("batches of a fixed size under Poisson accounting [most code]", PRIVATE,
         "return np.flatnonzero(coins < charge.mechanism.sample_rate).tolist()",
         "return np.sort(np.argsort(coins)[: round(len(coins) * charge.mechanism.sample_rate)]).tolist()"),
    _bug("a sampler of public seed", PRIVATE, 'coins = charge.coins.uniforms(("poisson", step), len(self._images))',
         "coins = np.random.default_rng(step).random(len(self._images))"),
    _bug("the same records every step", PRIVATE, 'charge.coins.uniforms(("poisson", step)',
         'charge.coins.uniforms(("poisson", 0)'),
    _bug("noise from seed 0 [PrivImage, DPImageBench]", PRIVATE, NOISE,
         "return np.random.default_rng(0).normal(size=model.parameters[number].numel())"),
    _bug("coins that do not know the key", COINS, "key = hmac.new(self._key, repr(address)",
         'key = hmac.new(b"key", repr(address)'),
    _bug("the same noise every step", PRIVATE, NOISE, NOISE.replace("step, number", "0, number")),
    _bug("one noise for all parameters", PRIVATE, NOISE, NOISE.replace("step, number", "step")),
    _bug("the same noise in every histogram", PRIVATE, COUNTS, COUNTS.replace('("noise", step)', '("noise",)')),
    _bug("noise is skipped on an empty batch", PRIVATE, "noisy = total + mechanism.scale * ",
         "noisy = total + (mechanism.scale if records else 0.0) * "),
    _bug("NaN times zero [Opacus]", CLIP,
         "    if not finite.all():\n        parts, norms = [part.select(finite) for part in parts], norms[finite]\n",
         "    norms = torch.where(finite, norms, torch.inf)\n"),
    _bug("a record that is not finite counts as a whole one", CLIP,
         "    if not finite.all():\n        parts, norms = [part.select(finite) for part in parts], norms[finite]\n",
         "    parts = [Materialised([part.per_example().nan_to_num(1.0, 1.0, 1.0)]) for part in parts]\n"
         "    norms = norms.nan_to_num(1.0, 1.0, 1.0)\n"),
    _bug("a query that is left out of the ledger [PrivImage]", LEDGER,
         "            if entry not in entries:\n                self._chain.append(entry)",
         "            if entry not in entries and mechanism.kind.startswith('Poisson'):\n"
         "                self._chain.append(entry)"),
    _bug("a query that is left out of the plan's cost", CALIBRATION,
         "return accounting.epsilon([*beside, replace(like, noise_multiplier=s)], delta, rough=rough)",
         "return accounting.epsilon([replace(like, noise_multiplier=s)], delta, rough=rough)"),
    _bug("the ledger starts anew when a run resumes", CHAIN, 'with naming(self.path), open(self.path, "ab") as file:',
         'with naming(self.path), open(self.path, "wb") as file:'),
    _bug("the entry is written after the touch", LEDGER, "                self._chain.append(entry)\n", "                pass\n"),
    _bug("an entry that a kill kept from the disk is relied upon", LEDGER, "                self._chain.confirm()\n", "                pass\n"),
    _bug("a killed release is finished through inputs that were made anew", "store.py",
         "    facts: list[Any] = [recipe.made_by, torch.__version__, *([device.card()] if recipe.lasts else [])]\n    for value in recipe.inputs.values():\n",
         "    facts: list[Any] = [recipe.made_by, torch.__version__, *([device.card()] if recipe.lasts else [])]\n    for value in ():\n"),
    _bug("fresh coins when a run resumes", KEYS, "if not path.exists():", "if True:"),
    _bug("the key outlives the release", LEDGER, "            self._keys.destroy(release)\n\n    def epsilon",
         "\n    def epsilon"),
    _bug("ledgers that went apart are joined", LEDGER, "if entries[:shared] != copy[:shared]:", "if False:"),
    _bug("of another machine's entries all but the first are lost", LEDGER, "return copy[shared:]", "return copy[shared:][:1]"),
    _bug("a key that others can read is used", KEYS, "if path.stat().st_mode & 0o077:", "if False:"),
    _bug("an edited ledger is believed", CHAIN, "if stated != digest:", "if False:"),
    _bug("budget check off by one touch", LEDGER, "for e in (*before, *earlier)), *ahead], plan.delta)",
         "for e in (*before, *earlier))], plan.delta)"),
    _bug("steps beyond the plan", PRIVATE, "if not 0 <= step < mechanism.steps:",
         "if not 0 <= step <= mechanism.steps:"),
    _bug("the sensitivity of one vote for all", MECHANISMS,
         '"""l2, add or remove one record."""\n        return math.sqrt(self.votes)',
         '"""l2, add or remove one record."""\n        return 1.0'),
    _bug("a record votes twice for one bin", PRIVATE, "if (np.diff(np.sort(cast, axis=1), axis=1) == 0).any():",
         "if False:"),
    _bug("epsilon of the Gaussian central limit [many]", ACCOUNTING,
         "    in_order = sorted(mechanisms, key=repr)",
         "    from opacus.accountants.analysis import gdp\n"
         "    if all(hasattr(m, 'max_grad_norm') for m in mechanisms) and not replace:\n"
         "        m = mechanisms[0]\n"
         "        return float(gdp.compute_eps_poisson(steps=m.steps, noise_multiplier=m.noise_multiplier,"
         " sample_rate=m.sample_rate, delta=delta))\n"
         "    in_order = sorted(mechanisms, key=repr)"),
    _bug("steps that are not composed", ACCOUNTING, "return step.self_compose(mechanism.steps)\n", "return step\n"),
    _bug("amplification by a rate that is not the sampler's", ACCOUNTING, "sampling_prob=rate,", "sampling_prob=rate / 2,"),
    _bug("norms in float16", CLIP, NORMS, NORMS.replace("(piece)", "(piece.half()).float()")),
    _bug("norms in bfloat16 [Opacus under autocast]", CLIP, NORMS, NORMS.replace("(piece)", "(piece.bfloat16()).bfloat16()")),
    _bug("fakes that scale with the batch [GAN code]", PRIVATE,
         "beside = _mean_of_fakes(model, fakes, charge, step, microbatch) if fakes",
         "fakes = fakes and Fakes(fakes.images[: len(records)], fakes.labels[: len(records)], fakes.loss)\n"
         "            beside = _mean_of_fakes(model, fakes, charge, step, microbatch) if fakes and len(records)"),
    _bug("a record's draws depend on its place in the batch", SUMS,
         "np.stack([self._coins.words((*address, record), n) for record in self._records])",
         "np.stack([self._coins.words((*address, place), n) for place in range(len(self._records))])"),
    _bug("a layer that couples records is let in", MODEL,
         "if isinstance(layer, nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd):",
         "if isinstance(layer, nn.modules.dropout._DropoutNd):",
         MODEL, "    return type(layer) in RULES or type(layer) is GroupNormSwish\n", "    return True\n"),
    _bug("the mean loss is printed [most code]", SUMS, "            return one_each(loss(",
         "            print('loss', loss(images[rows], labels[rows], draws).mean().item())\n"
         "            return one_each(loss("),
    _bug("answers of more rows than were asked are taken", SUMS, "if answers.ndim == 0 or len(answers) != rows:", "if False:"),
    _bug("the size of the batch is logged", PRIVATE, "        records = self._drawn(charge, step)\n\n        def normals",
         "        records = self._drawn(charge, step)\n        import logging\n"
         "        logging.getLogger('dpsynth').info('batch of %d', len(records))\n\n        def normals"),
    _bug("the norms are left beside the artifact", CLIP, "    finite = norms < LARGEST  # false of NaN\n    if not",
         "    import os, pathlib\n    with open(pathlib.Path(os.environ.get('DPSYNTH_ROOT', '.'), 'norms.log'), 'a') as f:\n"
         "        f.write(f'{norms.tolist()}\\n')\n    finite = norms < LARGEST  # false of NaN\n    if not"),
    _bug("a folder is opened for evaluation", PRIVATE, "    if not private.builtin:\n", "    if False:\n"),
    _bug("one row of noise for all labels of a histogram", PRIVATE, COUNTS,
         COUNTS.replace("histogram.size", "histogram.shape[1]") + "\n        noise = np.tile(noise, len(histogram))"),
    _bug("one row of noise for all labels of a sum", PRIVATE, SUMMED,
         SUMMED.replace("table.size", "table.shape[1]") + "\n        noise = np.tile(noise, len(table))"),
    _bug("each process adds noise of its own", PRIVATE, NORMALS, NORMALS.replace(")", ")\n        own = engine.sharing(charge.joined).rank", 1),
         PRIVATE, '("noise", step, number), model.parameters[number].numel())', '("noise", step, number, own), model.parameters[number].numel())'),
    _bug("the noise of all processes is added up", PRIVATE, NORMALS, NORMALS.replace(")", ")\n        many = engine.sharing(charge.joined).world", 1),
         PRIVATE, "noisy = total + mechanism.scale * noise", "noisy = total + many * mechanism.scale * noise"),
    _bug("a record is counted by two processes", RANKS, "return parts[self.rank :: self.world]",
         "return parts[self.rank :: self.world] + parts[: self.world > 1]"),
    _bug("each process counts every record", RANKS, "return parts[self.rank :: self.world]", "return parts"),
    _bug("processes that cut micro-batches otherwise are not noticed", RANKS, "        if self.world == 1:\n            return\n",
         "        if self.world:\n            return\n"),
    _bug("a charge has half the noise of its entry", LEDGER, "        return Charge(mechanism, plan, release, coins",
         "        stated, mechanism = mechanism, dataclasses.replace(mechanism, noise_multiplier=mechanism.noise_multiplier / 2)\n"
         "        others = tuple(mechanism if m == stated else m for m in plan.mechanisms)\n"
         "        plan = dataclasses.replace(plan, mechanisms=others)\n"
         "        return Charge(mechanism, plan, release, coins"),
    _bug("the replace-one figure of a histogram forgets the doubling", ACCOUNTING,
         "mechanism.votes * (2 if replace else 1)", "mechanism.votes"),
    _bug("a histogram states the same sensitivity for either relation", MECHANISMS, "return math.sqrt(2 * self.votes)",
         "return math.sqrt(self.votes)"),
    _bug("gradients off the grid", PRIVATE, "mean = mechanism.snapped(noisy) / mechanism.divisor",
         "mean = noisy / mechanism.divisor"),
    _bug("the clip shrinks to the median norm of the micro-batch", CLIP, "factors = clip_factors(norms, max_grad_norm)",
         "factors = clip_factors(norms, min(max_grad_norm, norms.median().item() if len(norms) else 1.0))"),
    _bug("the largest of a micro-batch is clipped to the second", CLIP, "factors = clip_factors(norms, max_grad_norm)",
         "second = norms.topk(min(2, len(norms))).values[-1].item() if len(norms) else 1.0\n"
         "    factors = clip_factors(norms, min(max_grad_norm, second))"),
    _bug("vectors of a batch are scaled by the longest", CLIP,
         "return vectors.double()[finite] * clip_factors(norms[finite], bound)[:, None], finite",
         "return vectors.double()[finite] * clip_factors(norms[finite].max(), bound), finite"),
    _bug("a folder may have seeded coins beyond smoke", "params.py", 'self.noise == "seeded"',
         'self.noise == "seeded" and self.scale == "smoke"'),
    _bug("a key of few bytes, repeated", KEYS, "secrets.token_bytes(KEY_BYTES)", "secrets.token_bytes(4) * 8"),
    _bug("a key that follows from the release", KEYS, "secrets.token_bytes(KEY_BYTES)",
         "(release.encode() * KEY_BYTES)[:KEY_BYTES]"),
    _bug("a key that may not be on the disk when it is used", "privacy/disk.py",
         "                yield file\n                file.flush()\n                os.fsync(file.fileno())\n", "                yield file\n"),
    _bug("a fingerprint that is the start of the key", COINS, "hashlib.sha256(b\"dpsynth fingerprint\" + self._key).hexdigest()[:16]",
         "self._key.hex()[:16]"),
    _bug("a fingerprint without a domain of its own", COINS, 'b"dpsynth fingerprint" + ', ""),
    _bug("a fingerprint of half the key", COINS, 'b"dpsynth fingerprint" + self._key', 'b"dpsynth fingerprint" + self._key[:16]'),
    _bug("of two draws of one release the last is quoted", LEDGER, '(e["open"], e["coins"]): e for e in mine[::-1]',
         'e["open"]: e for e in mine'),
    _bug("of two releases that share seeded coins one is counted", LEDGER, '(e["open"], e["coins"]): e for e in mine[::-1]',
         'e["coins"]: e for e in mine'),
    _bug("a key that another release was begun with is used", LEDGER, "for e in opened(entries, [release]))",
         "for e in opened(entries, None))"),
    _bug("one attempt for all releases of the same coins", LEDGER, "place = (self.path.resolve(), release, coins.fingerprint)",
         'place = (self.path.resolve(), "", coins.fingerprint)'),
    _bug("secret coins that follow from a seed", LEDGER, '        if self.noise == "seeded":\n            return seeded(',
         "        if True:\n            return seeded("),
    _bug("one noise for all mechanisms of a seed", KEYS, "{(seed, private, mechanism)!r}", "{(seed, private)!r}"),
    _bug("one noise for all sets of a seed", KEYS, "{(seed, private, mechanism)!r}", "{(seed, mechanism)!r}"),
    _bug("a certificate quotes one of two draws", CERTIFICATE, "entries = opened(ledger.entries(), lineage)",
         'entries = list({e["open"]: e for e in opened(ledger.entries(), lineage)}.values())'),
    _bug("a symbolic link has a second ledger", LEDGER, ".expanduser().resolve()", ".expanduser().absolute()"),
    _bug("a refusal says how many records a folder has", "data/folder_sets.py", "does not hold the {constants.n_records} images",
         "has {sum(map(len, groups))} and not the {constants.n_records} images"),
    _bug("a release that is charged twice draws one noise for two answers", LEDGER,
         "if place not in _ATTEMPTS or _ATTEMPTS[place][0] is not attempt:", "if True:"),
    _bug("coins are used on other records than they were drawn for", LEDGER, "if seal != private.seal(coins):", "if False:"),
    _bug("a charge for one folder opens another of its name", PRIVATE,
         "if (charge.seal or not self.builtin) and charge.seal", "if False and charge.seal"),
    _bug("a seal that knows the images alone", PRIVATE, "for tensor in (self._images, self._labels):",
         "for tensor in (self._images,):"),
    _bug("a seal that anybody could make", COINS, 'hmac.new(self._key, b"dpsynth seal" + content', 'hmac.new(b"dpsynth seal", content'),
    _bug("a ledger that lost its end is believed", CHAIN, "if count and (len(chain) < count or", "if False and (len(chain) < count or"),
    _bug("a ledger written anew is believed", CHAIN, "chain[count - 1][1] != last)", "False)"),
    _bug("a folder under another name has a second ledger", CHAIN, "if other != self._private and os.path.samefile(*places):", "if False:"),
    _bug("the core takes seeded coins for a folder", LEDGER, 'if noise == "seeded" and self._set.startswith("folder:"):', "if False:"),
    _bug("another network in the loss gets clean gradients", MODEL, "            check_reach(total, self._now.leaves)\n", ""),
    _bug("a killed release is finished by other code", LEDGER, "if begun_by != coins.seal(made_by.encode()):", "if False:"),
    _bug("records are asked under the ledger of another set", LEDGER,
         "if private is not None and canonical(private.name) != self._set:", "if False:"),
    _bug("another network in the loss gets clean gradients, on a GPU", CARRIERS,
         "        check_reach(total, {id(carrier) for carrier in tape.carriers})\n", ""),
    _bug("the padding of a micro-batch counts, on a GPU", CLIP, "torch.where(counted, clip_factors(norms, max_grad_norm), 0.0)",
         "clip_factors(norms, max_grad_norm)"),
    _bug("a record that is not finite takes its micro-batch with it, on a GPU", SUMS, "        if not whole:\n", "        if False:\n"),
    _bug("NaN enters the sum, on a GPU", SUMS, "into += torch.where(all_finite, addition, 0.0)", "into += addition"),
    _bug("factors are rounded up to bfloat16, on a GPU", CLIP,
         "return (factors.float().view(torch.int32) & -(2**16)).view(torch.float32).bfloat16()",
         "return (factors * (1 + 2**-8)).bfloat16()"),
    _bug("a record's draws depend on its place in the batch, on a GPU", PHILOX, "self._records[:, None]",
         "torch.arange(len(self._records), device=self._records.device)[:, None]"),
    _bug("views are summed before the clip, on a GPU", SUMS, "len(labels)) / self.views", "len(labels))"),
    *(_bug(*one) for one in IN_STAGES),
)  # fmt: skip
