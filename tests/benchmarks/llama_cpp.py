"""llama.cpp's plain decoding of the built-in verifier's own weights, as another way to decode.

Runs in Node.js, for which prebuilt libraries come with a package: ``npm install node-llama-cpp``.
Weights are those of the file, four bits each, where all others here have them spread out into
bfloat16 or float32: what differs is how they are stored and multiplied.
"""

import json
import shutil
import subprocess
from pathlib import Path

import torch

from adaptive_spec.decoding.builtin import gguf_file

_SCRIPT = Path(__file__).with_suffix(".mjs")


class LlamaCpp:
    """Decodes in a process of its own, which lives as long as this one."""

    def __init__(self, folder: Path, new_tokens: int) -> None:
        """Starts it.

        Args:
          folder: holds ``node_modules`` with ``node-llama-cpp``.
          new_tokens: most tokens of an answer.
        """
        if not (folder / "node_modules" / "node-llama-cpp").is_dir():
            raise SystemExit(
                f"--llama-cpp {folder}: no node_modules/node-llama-cpp in there; run "
                "`npm install --ignore-scripts node-llama-cpp` in that folder"
            )
        node = shutil.which("node")
        if node is None:
            raise SystemExit("--llama-cpp needs Node.js: no `node` in PATH")
        self._new_tokens = new_tokens
        self._node = subprocess.Popen(
            [node, _SCRIPT, folder.resolve(), gguf_file(), str(torch.get_num_threads())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, prompt: list[int]) -> list[int]:
        """Output tokens for a prompt's."""
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        asked = {"prompt": prompt, "tokens": self._new_tokens}
        self._node.stdin.write(json.dumps(asked) + "\n")
        self._node.stdin.flush()
        answer = self._node.stdout.readline()
        if not answer:
            raise SystemExit(f"llama.cpp ended with status {self._node.wait()}; see above")
        output: list[int] = json.loads(answer)["output"]
        return output
