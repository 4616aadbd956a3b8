// A relay with Fastify: a request in, a request out, and a stream as the reply.
"use strict";

const http = require("node:http");
const fastify = require("fastify")({ logger: false });

const host = "127.0.0.1";
const [port, upstream] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true });

fastify.route({
  method: ["GET", "HEAD"],
  url: "/*",
  handler(request, reply) {
    const { connection, ...headers } = request.headers;
    const { method, url: path } = request.raw;
    const onward = http.request({ host, port: upstream, method, path, headers, agent }, (answer) => {
      // Whether a connection is kept is between its two ends.
      const { connection: _, ...rest } = answer.headers;
      reply.code(answer.statusCode).headers(rest).send(answer);
    });
    onward.on("error", (error) => reply.send(error));
    onward.end();
  },
});

fastify.listen({ host, port });
