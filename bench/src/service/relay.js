// The Node.js way: a request in, a request out, and a pipe.
"use strict";

const http = require("node:http");

const host = "127.0.0.1";
const [port, upstream] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true });

http
  .createServer((request, response) => {
    // The connections on both sides are kept, or not, independently.
    const { connection, ...headers } = request.headers;
    const { method, url: path } = request;
    const onward = http.request({ host, port: upstream, method, path, headers, agent }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  })
  .listen(port, host);
