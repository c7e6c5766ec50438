import { isIPv4 } from "node:net";
import { InvalidInputError } from "@crossrank/core";

/** A proxy as the environment names it. */
export interface NamedProxy {
  readonly url: URL;
  /** `Basic …`, of the name and password in its address. */
  readonly authorization: string | undefined;
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for an address, by the variables that Python's huggingface_hub, curl and others honour: `HTTP_PROXY` and
 * `HTTPS_PROXY` by the address's own scheme, `ALL_PROXY` for either, none for what `NO_PROXY` names. The lower-case
 * names come first.
 *
 * @throws {InvalidInputError} for a variable that names no proxy that can be used.
 */
export function proxyFor(target: URL, variables: Variables): NamedProxy | undefined {
  const scheme = target.protocol.slice(0, -1);
  // A CGI program's HTTP_PROXY is a header of whoever asks (CVE-2016-5385).
  const isCgi = (variables["REQUEST_METHOD"] ?? "") !== "";
  const name = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`, "all_proxy", "ALL_PROXY"].find(
    (candidate) => (variables[candidate] ?? "") !== "" && !(isCgi && candidate === "HTTP_PROXY"),
  );
  if (name === undefined) return undefined;
  const without = variables["no_proxy"] ?? variables["NO_PROXY"] ?? "";
  if (isExcepted(target, without)) return undefined;
  const given = (variables[name] as string).trim();
  const spelled = given.includes("://") ? given : `http://${given}`;
  const url = URL.canParse(spelled) ? new URL(spelled) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    // Without the name and password that an address may hold.
    const shown = (url?.protocol ?? given.split("@").at(-1) ?? "").slice(0, 40);
    throw new InvalidInputError(
      name,
      `(of the environment) is no proxy that can be used (${shown}). Name one by http://host:port or https://host:port, or take the variable away.`,
    );
  }
  const authorization =
    url.username === "" && url.password === ""
      ? undefined
      : `Basic ${Buffer.from(`${decoded(url.username)}:${decoded(url.password)}`).toString("base64")}`;
  return { url, authorization };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Whether `NO_PROXY` names a host: itself or a domain above it, with or without a port, a network of IPv4, or all. */
function isExcepted({ hostname, port, protocol }: URL, list: string): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const usedPort = port === "" ? (protocol === "https:" ? "443" : "80") : port;
  return list.split(/[,\s]+/).some((given) => {
    if (given === "") return false;
    if (given === "*") return true;
    const entry = given.toLowerCase();
    if (entry.includes("/")) return isInNetwork(host, entry);
    const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(entry);
    const plain = /^([^:]+)(?::(\d+))?$/.exec(entry);
    const [, name = entry, wantedPort] = bracketed ?? plain ?? [];
    if (wantedPort !== undefined && wantedPort !== usedPort) return false;
    const domain = name.replace(/^\*?\./, "");
    return host === domain || host.endsWith(`.${domain}`);
  });
}

function isInNetwork(host: string, network: string): boolean {
  const [base = "", bits = ""] = network.split("/");
  const width = Number(bits);
  if (!isIPv4(host) || !isIPv4(base) || !/^\d{1,2}$/.test(bits) || width > 32) return false;
  const numberOf = (address: string): number =>
    address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - width);
  return Math.floor(numberOf(host) / size) === Math.floor(numberOf(base) / size);
}
