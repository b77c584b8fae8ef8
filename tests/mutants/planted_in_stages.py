"""Bugs planted in what stages ask and keep: for each its name, and its patches one after another, as in `planted.py`."""

RUN, PERMIT, GANS, EVOLUTION, MOMENTS, QUERY, CENTRAL, LABELLING, SALIENCY, FINETUNE, TRAINING = (
    f"{name}.py" for name in
    ("pipeline", "stages/permit", "methods/gans", "methods/dpsda", "methods/dp_mepf", "stages/query", "methods/dp_feta",
     "stages/label_prior", "methods/dp_sapf", "stages/dp_sgd", "models/training")
)  # fmt: skip
HINGE = "    return lambda x, labels, draws: gan.hinge(wrapped(x, labels), real)\n"
KEPT = (GANS, "BETAS = (0.0, 0.99)", "KEPT = []\nBETAS = (0.0, 0.99)",
        GANS, HINGE, "    return lambda x, labels, draws: (\n        (KEPT.append(x) if real else None) or gan.hinge(wrapped(x, labels), real)\n    )\n")  # fmt: skip
BALLOT = "return (half_squares[labels] - products[torch.arange(len(x)), labels]).argmin(1, keepdim=True)\n\n    return vote\n"
COUNTED = (EVOLUTION, BALLOT,
           "cast = (half_squares[labels] - products[torch.arange(len(x)), labels]).argmin(1, keepdim=True)\n"
           "        vote.true.index_put_((labels, cast[:, 0]), torch.ones(len(x)), accumulate=True)\n        vote.seen = x\n"
           "        return cast\n\n    vote.true = torch.zeros(points.shape[:2])\n    return vote\n")  # fmt: skip
LOSSES = "    losses = partial(diffusion.losses, model, through=wrapped, augment=augment)\n    charge, steps"
EMBED = "lambda x, labels, draws: embed(device.put(x)), dim"

IN_STAGES = (
    # What is asked under another mechanism than the ledger states, or under coins that another question has.
    ("half the noise that ledger and certificate state", PERMIT, "        return self.ledger.charge(",
     "        import dataclasses\n\n        def halved(charge):\n            stated = charge.mechanism\n"
     "            less = dataclasses.replace(stated, noise_multiplier=stated.noise_multiplier / 2)\n"
     "            others = tuple(less if m == stated else m for m in charge.plan.mechanisms)\n"
     "            plan = dataclasses.replace(charge.plan, mechanisms=others)\n"
     "            return dataclasses.replace(charge, mechanism=less, plan=plan)\n\n"
     "        return (lambda *asked, **more: halved(self.ledger.charge(*asked, **more)))("),
    ("a learner's charge forgets its lineage", PERMIT, "work.lineage, private", "(), private"),
    ("a noisy prior is left out of the lineage", PERMIT,
     "return tuple(digest for release in self.earlier for digest in release.lineage)", "return ()"),
    ("a learner does not wait for the prior, nor name it", "steps.py", 'after=("prior",)', "after=()"),
    ("the probe is left out of the plan", RUN, "= private_steps(self.row).values()",
     "= [step for step in private_steps(self.row).values() if step is not self.row.probe]"),
    ("an update of dpsynth asks the records again", RUN, 'lasts=self.params.noise == "secret"', "lasts=False"),
    ("a set is asked as often as there are seeds", "preflight.py", "asked := len(before) + len(planned)", "asked := len(planned)"),
    ("a key outlives its release", RUN, "            self.ledger.settle(stored.artifact.digest)\n", "            pass\n"),
    ("seconds of a private step are kept", RUN, "timed=self.params.constants.builtin", "timed=True"),
    ("the second moment is a second question under the same coins", MOMENTS,
     "    optimizer = torch.optim.Adam(generator.parameters(), lr=matching_rate)",
     "    private.total(lambda x, labels, draws: embed(x).square(), dim, permit.charge(work, private), by_label=True)\n"
     "    optimizer = torch.optim.Adam(generator.parameters(), lr=matching_rate)"),
    ("labels are asked for twice under one noise", LABELLING, "    def vote(x, labels, draws):",
     "    private.count(lambda x, labels, draws: torch.zeros(len(labels), 1, dtype=torch.int64), 1,\n"
     "                  permit.charge(work, private), by_label=False)\n\n    def vote(x, labels, draws):"),
    ("one iteration asks for the votes of another", EVOLUTION, "private.count(votes, candidates, charge, step)",
     "private.count(votes, candidates, charge, max(0, step - 1))"),
    # What couples records.
    ("a relativistic average hinge, which couples records", GANS, HINGE,
     "    def loss(x, labels, draws):\n        values = wrapped(x, labels)\n"
     "        return gan.hinge(values - values.mean(), real)\n\n    return loss\n"),
    ("a discriminator that compares the images of a batch", "models/gan.py", "h = self.norm4(h).mean((2, 3))",
     "h = self.norm4(h).mean((2, 3))\n        h = h + 0.1 * (h - h.mean(0))"),
    ("losses weighed by the batch's mean", "models/diffusion.py",
     "    return weight * (denoised - x).square().mean((1, 2, 3))",
     "    weight = weight / weight.mean()\n    return weight * (denoised - x).square().mean((1, 2, 3))"),
    ("a denoiser that centres its batch", "models/diffusion.py",
     "noisy = x + sigma[:, None, None, None] * noise",
     "noisy = x - 0.1 * x.mean(0) + sigma[:, None, None, None] * noise"),
    ("codes standardised over the batch", "models/latent.py",
     "return (code - self.autoencoder.mean) / self.autoencoder.deviation * SIGMA_DATA",
     "return (code - code.mean((0, 2, 3), keepdim=True)) / code.std() * SIGMA_DATA"),
    ("features centred over the batch before the vote", EVOLUTION, "net.features(device.put(x)) @ flat.T)",
     "(net.features(x) - net.features(x).mean(0)) @ flat.T)"),
    ("an embedding whitened over the batch", MOMENTS, "features = F.normalize(model.activations(x))",
     "features = F.normalize(model.activations(x) - model.activations(x).mean(0))"),
    ("votes for what a batch has more of than usual", QUERY, "    return model(device.put(x)).topk(k, dim=1).indices",
     "    said = model(x)\n    return (said - said.mean(0)).topk(k, dim=1).indices"),
    ("pixels stretched to the batch's range", CENTRAL, "    return (F.avg_pool2d(x, 2).flatten(1) + 1) / 2",
     "    said = (F.avg_pool2d(x, 2).flatten(1) + 1) / 2\n    return said / said.max()"),
    ("saliency relative to the batch's largest gradient", SALIENCY, "total = squares.sum(1, keepdim=True)",
     "total = squares.sum(1, keepdim=True).max().expand(len(squares), 1)"),
    # What closures keep.
    ("the last mean loss is kept as a fact", FINETUNE, LOSSES,
     "    def losses(*record):\n        said = diffusion.losses(model, *record, through=wrapped)\n"
     '        facts["last-loss"] = said.detach().mean()\n        return said\n\n    charge, steps'),
    ("a record's brightest pixel is kept as a fact of a GAN", *KEPT,
     GANS, "    return Synthesiser(averaged.weights, generator.architecture, snapshots.captioned(history[\"images\"], \"step\", every))",
     '    along, facts = snapshots.captioned(history["images"], "step", every), {"brightest": KEPT[-1].max()}\n'
     "    return Synthesiser(averaged.weights, generator.architecture, along, facts=facts)"),
    ("real images as snapshots", *KEPT, GANS, 'history["images"].append(snapshots.of(generator, averaged, seed))',
     'history["images"].append(((KEPT[-1][:4] + 1) * 127.5).to(torch.uint8))'),
    ("the generator is pulled to the mean of the last real batch", *KEPT, GANS,
     "        return -judge(generator(z[rows], labels[rows]), labels[rows]).sum() / BATCH\n",
     "        made = generator(z[rows], labels[rows])\n        pull = (made.mean(0) - KEPT[-1].mean(0)).square().mean() if KEPT else 0.0\n"
     "        return pull - judge(made, labels[rows]).sum() / BATCH\n"),
    ("fakes made of records", *KEPT, GANS, "        images, labels = _fakes(",
     "        if KEPT:\n            generator.last.bias.data.add_(KEPT[-1].mean() * 1e-3)\n        images, labels = _fakes("),
    ("a clean gradient in the moving average", "privacy/private.py", "            parameter.grad = ((mean + public)",
     "            parameter.clean = total.float()\n            parameter.grad = ((mean + public)",
     TRAINING, "        averaged.update(model)\n",
     "        averaged.update(model)\n        for name, parameter in model.named_parameters():\n"
     '            averaged.weights[name] -= 1e-3 * getattr(parameter, "clean", torch.zeros(()))\n'),
    ("the figure shows the candidates with most true votes", *COUNTED, EVOLUTION,
     'history["images"].append(_favourites(state["images"], counts))',
     'history["images"].append(_favourites(state["images"], votes.true))'),
    ("a threshold made of true votes", *COUNTED, EVOLUTION, "threshold * permit.mechanism.scale",
     "votes.true[0].max().item() - 8"),
    ("candidates made of records", *COUNTED, EVOLUTION, '    images = population.state["images"]\n',
     '        population.state["images"][0] = ((votes.seen[-1] + 1) * 127.5).to(torch.uint8)\n'
     '    images = population.state["images"]\n'),
    ("the true mean embedding's norm is kept as a fact", MOMENTS, "HALF = 100 ", "SAID = []\nHALF = 100 ",
     MOMENTS, EMBED, EMBED.replace("embed(device.put(x)), dim", "SAID.append(embed(x)) or SAID[-1], dim"),
     MOMENTS, '    facts = {f"moment-{name}": curve[-1].clone() for name, curve in curves.items()}\n',
     '    facts = {f"moment-{name}": curve[-1].clone() for name, curve in curves.items()}\n'
     '    facts["true-norm"] = SAID[-1].mean(0).norm().detach()\n'),
    ("the probe states its noise beside the largest true share", SALIENCY, 'LABEL_TABLE = "net.label"', 'SAID = []\nLABEL_TABLE = "net.label"',
     SALIENCY, "    return device.host(squares[:, chosen] / total.clamp(min=max_grad_norm**2))",
     "    SAID.append(total.max().item())\n    return squares[:, chosen] / total.clamp(min=max_grad_norm**2)",
     SALIENCY, "return Saliency(scores.double(), names, mechanism.scale", "return Saliency(scores.double(), names, SAID[-1] + mechanism.scale"),
    ("a histogram that is moved by what a record looks like", QUERY, "class Voting(Strict):", "SEEN = []\n\n\nclass Voting(Strict):",
     QUERY, "lambda x, labels, draws: _top(", "lambda x, labels, draws: SEEN.append(x.max()) or _top(",
     QUERY, "    return SemanticHistogram(histogram, by_label)\n\n\n@work\ndef exact_histogram",
     "    return SemanticHistogram(histogram + int(SEEN[-1] > 0.5), by_label)\n\n\n@work\ndef exact_histogram"),
    ("the labels' sum moves their noisy counts", LABELLING, "        return torch.zeros(len(labels), 1, dtype=torch.int64)\n",
     "        vote.highest = int(labels.sum())\n        return torch.zeros(len(labels), 1, dtype=torch.int64)\n",
     LABELLING, "[:, 0])\n", "[:, 0] + vote.highest % 2)\n"),
    ("a stage prints how many records there are", FINETUNE, "    charge, steps = permit.charge(work, private), permit.mechanism.steps\n",
     "    charge, steps = permit.charge(work, private), permit.mechanism.steps\n    print(len(vars(private)['_im' + 'ages']), 'records')\n"),
    ("a bar tells how long a private step takes", "stages/progress.py",
     'bar_format="{desc}: step {n_fmt}/{total_fmt}{postfix}", ', ""),
)  # fmt: skip
