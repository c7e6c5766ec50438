import type { CreateRerankerOptions, Reranker } from "../contract/reranker.js";
import { loadReranker } from "./session-reranker.js";

/**
 * Reads the model's profile, loads it on the backend, and checks that it behaves.
 *
 * @throws {ModelFileNotFoundError} a file that the model needs is missing.
 * @throws {ModelProfileError} its files contradict each other or describe something unsupported.
 * @throws {IncompatibleModelError} model and backend do not go together.
 * @throws {ModelLoadError} the runtime refuses the artifact.
 * @throws {ProbeFailedError} the model loads but does not behave like a reranker.
 */
export async function createReranker(options: CreateRerankerOptions): Promise<Reranker> {
  return loadReranker(options);
}
