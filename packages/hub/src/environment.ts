import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/**
 * What the environment says about the hub, by the rules of Python's huggingface_hub 2.4 (`constants.py` and
 * `utils/_auth.py`), so that both programs share cache, token and endpoint. One difference: a variable set to
 * the empty string counts as unset.
 */
export interface HubEnvironment {
  /** `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME` (default `~/.cache/huggingface`). */
  readonly cacheFolder: string;
  /** `HF_ENDPOINT` without a slash at its end, else `https://huggingface.co`. */
  readonly endpoint: string;
  /** `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is 1, ON, YES or TRUE, in any case. */
  readonly offline: boolean;
  /** `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH` (default `token` in `HF_HOME`). */
  readonly token: string | undefined;
  /** False with `HF_HUB_DISABLE_SYMLINKS`: snapshots then hold files instead of links. */
  readonly symlinks: boolean;
}

type Variables = Readonly<Record<string, string | undefined>>;

export async function readEnvironment(variables: Variables = process.env): Promise<HubEnvironment> {
  const expand = (path: string): string => expandVariables(expandHome(path, variables), variables);
  const cacheHome = variables["XDG_CACHE_HOME"] || join("~", ".cache");
  const home = expand(variables["HF_HOME"] || join(cacheHome, "huggingface"));
  const tokenFile = expand(variables["HF_TOKEN_PATH"] || join(home, "token"));
  return {
    cacheFolder: expand(variables["HF_HUB_CACHE"] || variables["HUGGINGFACE_HUB_CACHE"] || join(home, "hub")),
    endpoint: (variables["HF_ENDPOINT"] || "https://huggingface.co").replace(/\/+$/, ""),
    offline: isTrue(variables["HF_HUB_OFFLINE"] || variables["TRANSFORMERS_OFFLINE"]),
    token: isTrue(variables["HF_HUB_DISABLE_IMPLICIT_TOKEN"])
      ? undefined
      : (cleanToken(variables["HF_TOKEN"] || variables["HUGGING_FACE_HUB_TOKEN"]) ??
        cleanToken(await readIfThere(tokenFile))),
    symlinks: !isTrue(variables["HF_HUB_DISABLE_SYMLINKS"]),
  };
}

/** A leading `~` as the user's home. */
export function expandHome(path: string, variables: Variables = process.env): string {
  if (path !== "~" && !path.startsWith("~/") && !path.startsWith("~\\")) return path;
  const home = variables[process.platform === "win32" ? "USERPROFILE" : "HOME"] || homedir();
  return join(home, path.slice(1));
}

/** `$NAME` and `${NAME}`; an unknown name stays as it is, as in Python's `os.path.expandvars`. */
function expandVariables(path: string, variables: Variables): string {
  return path.replace(
    /\$(?:(\w+)|\{([^}]*)\})/g,
    (whole, bare: string | undefined, braced: string | undefined) => variables[bare ?? braced ?? ""] ?? whole,
  );
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && ["1", "ON", "YES", "TRUE"].includes(value.toUpperCase());
}

function cleanToken(token: string | undefined): string | undefined {
  return token?.replace(/[\r\n]/g, "").trim() || undefined;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return undefined;
  }
}
