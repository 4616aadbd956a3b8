// Runs the packaged Worker in workerd, with a bucket in a folder, as Cloudflare would: for the outer tests.
//
//   node serve.mjs <settings.json>
//
// Settings: tools (the folder with node_modules), worker (the packaged folder), variables, bucket (a folder, or null).
// Prints the process id of workerd, and "listening on http://…".
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(join(settings.tools, "package.json"));
const { Log, LogLevel, Miniflare } = require("miniflare");

const read = (name) => readFileSync(join(settings.worker, name));
const script = (name) => ({ type: "ESModule", path: name, contents: read(name) });

const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  log: new Log(LogLevel.WARN),
  cf: false,
  compatibilityDate: settings.compatibility_date,
  modules: [
    script("entry.js"),
    script("core.js"),
    script("native.js"),
    { type: "CompiledWasm", path: "core_bg.wasm", contents: read("core_bg.wasm") },
  ],
  bindings: settings.variables,
  // /cdn-cgi/handler/scheduled calls the Worker as a cron trigger does.
  unsafeTriggerHandlers: true,
  r2Buckets: settings.bucket ? ["BLOBS"] : [],
  r2Persist: settings.bucket ?? false,
  handleRuntimeStdio: (out, err) => {
    out.pipe(process.stdout);
    err.pipe(process.stdout);
  },
});

const address = await miniflare.ready;
const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim().split(" ");
const isWorkerd = (id) => readFileSync(`/proc/${id}/comm`, "utf8").startsWith("workerd");
console.log(`workerd is process ${children.find(isWorkerd)}`);
console.log(`listening on ${address.origin}`);
