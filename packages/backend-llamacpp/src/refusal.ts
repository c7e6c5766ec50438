/** Why a file is not loaded: what is wrong with it, and the fix, each as a clause. */
export class Refusal extends Error {
  readonly problem: string;
  readonly fix: string;

  constructor(problem: string, fix: string) {
    super(problem);
    this.name = "Refusal";
    this.problem = problem;
    this.fix = fix;
  }
}
