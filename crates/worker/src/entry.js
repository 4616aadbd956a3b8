// What Cloudflare calls. Written beside the generated core.js by `cargo xtask package cloudflare`.
import * as core from "./core.js";
import module from "./core_bg.wasm";
import { takeBroken } from "./native.js";

core.initSync({ module });

export default {
  fetch(request, env, ctx) {
    if (takeBroken()) core.__wbg_reset_state();
    const answer = core.fetch(request, env, ctx);
    // A client that leaves does not end the Worker's counting of who waits: an answer's head is always finished.
    ctx.waitUntil(answer.then(() => {}, () => {}));
    return answer;
  },
  scheduled(event, env, ctx) {
    if (takeBroken()) core.__wbg_reset_state();
    const done = core.scheduled(env, ctx);
    ctx.waitUntil(done);
    return done;
  },
};
