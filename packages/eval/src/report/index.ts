export {
  type Baseline,
  type BaselineChange,
  type BaselineComparison,
  BaselineFormatError,
  type BaselineInput,
  type BaselineObstacle,
  type BaselineSystem,
  type BaselineSystemComparison,
  type BaselineTask,
  compareWithBaseline,
  formatBaseline,
  parseBaseline,
  updateBaseline,
} from "./baseline.js";
export { type HtmlOptions, renderHtml } from "./html.js";
export { type JunitOptions, renderJunit } from "./junit.js";
export { type MarkdownOptions, renderMarkdown } from "./markdown.js";
export {
  type CellOutcome,
  cellOutcome,
  cellProblems,
  type MatrixCell,
  type MatrixReport,
  matrixHeadline,
  matrixPassed,
  renderMatrixHtml,
  renderMatrixJunit,
  renderMatrixMarkdown,
} from "./matrix.js";
export {
  type MtebExtension,
  type MtebResultOptions,
  type MtebScores,
  type MtebTaskResult,
  mtebTaskResult,
} from "./mteb-result.js";
export type * from "./report-data.js";
export { writeReportFolder } from "./write-report.js";
