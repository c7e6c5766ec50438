import type { Publication } from "@crossrank/hub";
import type { PublicationPlan } from "../../publish/publish-model.js";
import { alignColumns, formatBytes, toSingleLine } from "../../text.js";

type Files = PublicationPlan["files"];

function fileTable(files: Files, stored: string): string {
  const rows = files.map(({ path, size, sha256, lfs }) => [
    toSingleLine(path),
    formatBytes(size),
    sha256,
    lfs ? "LFS" : "git",
  ]);
  return alignColumns([["file", "size", "sha256", stored], ...rows], ["left", "right", "left", "left"]).join(
    "\n",
  );
}

function totalOf(files: Files): string {
  return `${files.length} files, ${formatBytes(files.reduce((sum, { size }) => sum + size, 0))}`;
}

export function planTable({ repository, tag, artifact, files }: PublicationPlan): string {
  return `repository  ${toSingleLine(repository)}\ntag         ${tag}\nartifact    ${toSingleLine(artifact)}\n\n${fileTable(files, "probably in")}\n\n${totalOf(files)}. Nothing was sent. README.md of main would be replaced by the card, and weights, tokenizer and whatever else is another variant's be removed in the same commit; documents, pictures, examples and licences of main stay. Publish with --confirm.\n`;
}

export function publicationTable(
  repository: string,
  { commit, tag, committed, files, removed, kept }: Publication,
): string {
  const gone = removed.length === 0 ? "" : ` Removed from main: ${removed.map(toSingleLine).join(", ")}.`;
  const stayed = kept.length === 0 ? "" : ` Stayed beside them: ${kept.map(toSingleLine).join(", ")}.`;
  const made = committed ? "committed" : "found committed by an earlier run";
  return `${fileTable(files, "in")}\n\n${totalOf(files)}, ${made} as ${commit}, checked, and tagged ${tag} on ${toSingleLine(repository)}.${gone}${stayed}\n`;
}
