// Decodes greedily with llama.cpp. A line of JSON in, {"prompt": [ids], "tokens": most}, a line out:
// {"output": [ids]}. Arguments: the folder that holds node_modules, the GGUF file, threads.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, modelPath, threads] = process.argv.slice(2);
const found = createRequire(`${folder}/`).resolve("node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(found));
const llama = await getLlama({
  gpu: false,
  build: "never",
  maxThreads: Number(threads),
  logLevel: LlamaLogLevel.error,
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 2048, threads: Number(threads) });
const sequence = context.getSequence();

for await (const line of createInterface({ input: process.stdin })) {
  const { prompt, tokens } = JSON.parse(line);
  await sequence.clearHistory();
  const output = [];
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    output.push(token);
    if (output.length === tokens || model.isEogToken(token)) break;
  }
  process.stdout.write(`${JSON.stringify({ output })}\n`);
}
