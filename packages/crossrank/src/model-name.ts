/** What reports call a model: a folder by its last part, since a path of one machine is no name. */
export function nameOfModel(reference: string): string {
  return (
    reference
      .replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .at(-1) ?? reference
  );
}
