"""One side of `benchmarks.compatibility`: reads the recording and the checkpoint with rl or with LeRobot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CAMERA = "observation.images.front"
FRAMES = (0, 1, 17, 40)


def ours(folder: Path) -> dict[str, Any]:
    import numpy as np
    import torch

    from rl.data import open_dataset
    from rl.nn import checkpoint
    from rl.nn.draws import GeneratorDraws

    reader = open_dataset(folder / "wave")
    count = sum(e.length for e in reader.info.episodes)
    rows = reader.rows(np.arange(count), ["observation.state", "action"])
    frames = reader.frames(CAMERA, np.array(FRAMES))
    found = checkpoint.describe(checkpoint.find(folder / "run"))
    policy, processing = checkpoint.load_policy(found), checkpoint.load_processing(found)
    small = reader.frames(CAMERA, np.array([0]), (64, 96))
    np.save(folder / "picture.npy", small[0])
    raw = {
        "observation.state": torch.from_numpy(rows["observation.state"][:1, None]),
        CAMERA: torch.from_numpy(small[:, None]),
    }
    with torch.no_grad():
        chunk, _ = policy.predict(processing.apply(raw), GeneratorDraws(torch.Generator(), torch.device("cpu")), {})
        units = processing.invert_actions(chunk, raw)
    return {
        "rows": count,
        "episodes": len(reader.info.episodes),
        "tasks": sorted(reader.info.tasks.values()),
        "values": np.concatenate([rows["observation.state"], rows["action"]], 1).flatten().tolist(),
        "pixels": frames[:, ::16, ::16].flatten().tolist(),
        "chunk": units.flatten().tolist(),
    }


def lerobot(folder: Path) -> dict[str, Any]:
    from importlib import metadata

    import numpy as np
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    data = LeRobotDataset("local/wave", root=folder / "wave", video_backend="pyav", return_uint8=True)
    items = [data[i] for i in range(len(data))]
    values = [torch.cat([item["observation.state"], item["action"]]) for item in items]
    pictures = [items[i][CAMERA].permute(1, 2, 0)[::16, ::16] for i in FRAMES]
    model = folder / "run" / "checkpoints" / "last" / "pretrained_model"
    policy = ACTPolicy.from_pretrained(model, strict=True).eval()
    before, behind = make_pre_post_processors(policy.config, pretrained_path=str(model))
    picture = torch.from_numpy(np.load(folder / "picture.npy")).permute(2, 0, 1).float() / 255
    sample = before({"observation.state": items[0]["observation.state"], CAMERA: picture})
    with torch.no_grad():
        chunk = behind(policy.predict_action_chunk(sample))
    return {
        "version": metadata.version("lerobot"),
        "rows": len(data),
        "episodes": data.meta.total_episodes,
        "tasks": sorted({item["task"] for item in items}),
        "values": torch.stack(values).flatten().tolist(),
        "pixels": torch.stack(pictures).flatten().tolist(),
        "chunk": chunk.flatten().tolist(),
    }


if __name__ == "__main__":
    work = {"rl": ours, "lerobot": lerobot}[sys.argv[1]]
    print(json.dumps(work(Path(sys.argv[2]))))
