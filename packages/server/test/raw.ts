import { connect } from "node:net";

/** What a server answers to bytes, until it closes the connection. */
export function raw(port: number, ...parts: readonly (string | Uint8Array)[]): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => {
      for (const part of parts) socket.write(part);
    });
    socket.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => resolve(text));
    socket.on("error", (error: NodeJS.ErrnoException) => (text === "" ? reject(error) : resolve(text)));
  });
}
