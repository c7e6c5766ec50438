// Scores query and document with a Core ML package. Written by "crossrank consumer"; do not edit it.
//
//     swift run Predict --folder MODEL_FOLDER --query "..." --document "..."
//     swift run Predict --repo OWNER/NAME --revision v0.1-ane
//
// Without a query it holds the token ids and the logits against the model's golden.json.
import CoreML
import Foundation
import Hub
import Tokenizers

enum Slot { case query, document, instruction }
enum Part { case literal(String), text(Slot, trim: Bool) }
enum Section { case ids([Int32], segment: Int32), run([Part], segment: Int32) }
enum Source { case ids, mask, segments }
enum Activation { case identity, sigmoid, tanh }
enum Reading { case logit, cosine, classOf(positive: Int) }
struct Port { let name: String; let source: Source; let rank: Int }
struct Row { let ids: [Int32]; let segments: [Int32] }
struct Failure: Error, CustomStringConvertible { let description: String }

/// What the artifact and the model's tokenizer promise.
enum Contract {
    static let model = "xlm-roberta-logit"
    static let isBiEncoder = false
    static let template: [Section] = [
        .ids([0], segment: 0),
        .run([.text(.query, trim: false)], segment: 0),
        .ids([2, 2], segment: 0),
        .run([.text(.document, trim: false)], segment: 0),
        .ids([2], segment: 0),
    ]
    static let instructedTemplate: [Section]? = nil
    static let instruction = ""
    static let queryPrefix = ""
    static let documentPrefix = ""
    static let maxLength = 64
    static let paddingId: Int32 = 1
    static let activation = Activation.sigmoid
    /// Nil: the model has no Core ML package, and the program ends before the prediction.
    static let package: String? = "mlpackage/model.mlpackage"
    static let inputs: [Port] = [Port(name: "input_ids", source: .ids, rank: 4), Port(name: "attention_mask", source: .mask, rank: 4)]
    /// Rows of every prediction, and the lengths that a row may have.
    static let rows = 20
    static let lengths: [Int] = [16, 32, 64]
    static let output = "logit"
    static let columns = 1
    static let reading = Reading.logit
}

/// Texts to token ids, by the template above. Of a pair that is too long the document is cut, from the right.
struct Encoder {
    let tokenizer: any Tokenizer

    func tokens(_ text: String) -> [Int32] {
        text.isEmpty ? [] : tokenizer.encode(text: text, addSpecialTokens: false).map(Int32.init)
    }

    /// Nil where the query leaves no token for the document.
    func pair(_ query: String, _ document: String, _ instruction: String) -> Row? {
        let template = instruction.isEmpty ? Contract.template : Contract.instructedTemplate ?? Contract.template
        var sections: [Row] = []
        var own = 0
        var whole: [Int32] = []
        var end: [Int32] = []
        var headCount = 0
        for section in template {
            switch section {
            case .ids(let ids, let segment):
                sections.append(row(ids, segment))
            case .run(let parts, let segment):
                var before = ""
                var inside: String?
                var after = ""
                for part in parts {
                    switch part {
                    case .literal(let literal):
                        if inside == nil { before += literal } else { after += literal }
                    case .text(.document, let trim):
                        inside = prepared(Contract.documentPrefix + document, trim)
                    case .text(let slot, let trim):
                        let text = prepared(slot == .query ? Contract.queryPrefix + query : instruction, trim)
                        if inside == nil { before += text } else { after += text }
                    }
                }
                guard let text = inside else {
                    sections.append(row(tokens(before), segment))
                    continue
                }
                own = sections.count
                whole = tokens(before + text + after)
                end = tokens(after)
                headCount = zip(tokens(before), whole).prefix { $0.0 == $0.1 }.count
                sections.append(row(whole, segment))
            }
        }
        let others = sections.enumerated().filter { $0.offset != own }.map { $0.element.ids.count }.reduce(0, +)
        let room = Contract.maxLength - others - headCount - end.count
        if room <= 0 { return nil }
        if room < whole.count - headCount - end.count {
            let segment = sections[own].segments.first ?? 0
            sections[own] = row(Array(whole.prefix(headCount + room)) + end, segment)
        }
        return joined(sections)
    }

    func single(_ text: String) -> Row {
        let fixed = Contract.template.reduce(0) { count, section in
            if case .ids(let ids, _) = section { return count + ids.count }
            return count
        }
        return joined(Contract.template.map { section in
            switch section {
            case .ids(let ids, let segment): return row(ids, segment)
            case .run(_, let segment): return row(Array(tokens(text).prefix(Contract.maxLength - fixed)), segment)
            }
        })
    }

    /// The rows of a pair: one, or those of query and document; nil where it is not scored.
    func rows(_ query: String, _ document: String, _ instruction: String = Contract.instruction) -> [Row]? {
        if Contract.isBiEncoder {
            return [single(Contract.queryPrefix + query), single(Contract.documentPrefix + document)]
        }
        guard let pair = pair(query, document, instruction) else { return nil }
        return [pair]
    }

    private func prepared(_ text: String, _ trim: Bool) -> String {
        trim ? text.trimmingCharacters(in: .whitespacesAndNewlines) : text
    }

    private func row(_ ids: [Int32], _ segment: Int32) -> Row {
        Row(ids: ids, segments: ids.map { _ in segment })
    }

    private func joined(_ sections: [Row]) -> Row {
        Row(ids: sections.flatMap(\.ids), segments: sections.flatMap(\.segments))
    }
}

/// The tensors of a prediction: each row filled up with padding, and the batch with rows of padding.
func feeds(_ rows: [Row]) throws -> MLDictionaryFeatureProvider {
    let longest = rows.map(\.ids.count).max() ?? 0
    guard let length = Contract.lengths.first(where: { $0 >= longest }) else {
        throw Failure(description: "a sequence of \(longest) tokens is longer than the artifact takes")
    }
    var tensors: [String: MLFeatureValue] = [:]
    for port in Contract.inputs {
        let shape = port.rank == 4 ? [Contract.rows, 1, 1, length] : [Contract.rows, length]
        let array = try MLMultiArray(shape: shape.map { NSNumber(value: $0) }, dataType: .int32)
        let fill: Int32 = port.source == .ids ? Contract.paddingId : 0
        array.withUnsafeMutableBytes { bytes, _ in
            let values = bytes.bindMemory(to: Int32.self)
            for place in 0..<values.count { values[place] = fill }
            for (index, row) in rows.enumerated() {
                for column in 0..<row.ids.count {
                    let value: Int32
                    switch port.source {
                    case .ids: value = row.ids[column]
                    case .mask: value = 1
                    case .segments: value = row.segments[column]
                    }
                    values[index * length + column] = value
                }
            }
        }
        tensors[port.name] = MLFeatureValue(multiArray: array)
    }
    return try MLDictionaryFeatureProvider(dictionary: tensors)
}

func logit(_ model: MLModel, _ rows: [Row]) async throws -> Double {
    let prediction = try await model.prediction(from: feeds(rows))
    guard let output = prediction.featureValue(for: Contract.output)?.multiArrayValue else {
        throw Failure(description: "the artifact gives no \(Contract.output)")
    }
    func values(_ row: Int) -> [Double] {
        (0..<Contract.columns).map { output[[NSNumber(value: row), NSNumber(value: $0)]].doubleValue }
    }
    switch Contract.reading {
    case .logit:
        return values(0)[0]
    case .classOf(let positive):
        let own = values(0)
        let others = own.enumerated().filter { $0.offset != positive }.map { $0.element }
        let most = others.max() ?? 0
        return own[positive] - most - log(others.map { exp($0 - most) }.reduce(0, +))
    case .cosine:
        let query = values(0)
        let document = values(1)
        let product = zip(query, document).map { $0 * $1 }.reduce(0, +)
        let norms = [query, document].map { sqrt($0.map { $0 * $0 }.reduce(0, +)) }
        return product / (norms[0] * norms[1])
    }
}

func score(_ logit: Double) -> Double {
    switch Contract.activation {
    case .identity: return logit
    case .sigmoid: return 1 / (1 + exp(-logit))
    case .tanh: return Foundation.tanh(logit)
    }
}

struct Goldens: Decodable {
    struct Expected: Decodable {
        let ids: [Int32]?
        let queryIds: [Int32]?
        let segmentIds: [Int32]?
        let logit: Double?
        let queryOverflow: Bool?
    }
    struct Case: Decodable {
        let name: String
        let query: String
        let document: String
        let instruction: String?
        let expected: [String: Expected]
    }
    let tolerance: Double?
    let cases: [Case]
}

/// The file's text where half of a character, which JSONDecoder refuses, is the replacement character.
func wellFormed(_ file: URL) throws -> Data {
    let high = #"\\u[dD][89abAB][0-9a-fA-F]{2}"#
    let low = #"\\u[dD][c-fC-F][0-9a-fA-F]{2}"#
    let text = try String(contentsOf: file, encoding: .utf8)
    let halves = "\(high)(?!\(low))|(?<!\(high))\(low)"
    return Data(text.replacingOccurrences(of: halves, with: #"\\uFFFD"#, options: .regularExpression).utf8)
}

/// Ticks off each case of the golden file: ids, segments, and the logit.
func checkGoldens(_ encoder: Encoder, _ model: MLModel?, _ file: URL) async throws -> Int {
    let goldens = try JSONDecoder().decode(Goldens.self, from: wellFormed(file))
    let tolerance = goldens.tolerance ?? 0.01
    let readsSegments = Contract.inputs.contains { $0.source == .segments }
    var wrong = 0
    for golden in goldens.cases {
        guard let expected = golden.expected["document-only"] else { continue }
        let rows = encoder.rows(golden.query, golden.document, golden.instruction ?? Contract.instruction)
        var problems: [String] = []
        if (rows == nil) != (expected.queryOverflow ?? false) { problems.append("queryOverflow") }
        if let rows {
            if let ids = expected.ids, ids != rows[rows.count - 1].ids { problems.append("ids") }
            if let ids = expected.queryIds, ids != rows[0].ids { problems.append("queryIds") }
            if readsSegments, let segments = expected.segmentIds, segments != rows[rows.count - 1].segments {
                problems.append("segmentIds")
            }
            if let model, let wanted = expected.logit, problems.isEmpty {
                let found = try await logit(model, rows)
                if abs(found - wanted) > tolerance { problems.append("logit \(found) for \(wanted)") }
            }
        }
        if !problems.isEmpty {
            wrong += 1
            print("\(golden.name): \(problems.joined(separator: ", ")) not as in the golden file")
        }
    }
    print("as in \(file.path): \(goldens.cases.count - wrong) of \(goldens.cases.count) cases")
    return wrong
}

var options: [String: String] = [:]
var arguments = Array(CommandLine.arguments.dropFirst())
while arguments.count >= 2 {
    options[arguments[0]] = arguments[1]
    arguments.removeFirst(2)
}
let folder: URL
if let repository = options["--repo"] {
    let repo = Hub.Repo(id: repository, type: .models)
    folder = try await HubApi.shared.snapshot(from: repo, revision: options["--revision"] ?? "main")
} else if let path = options["--folder"] {
    folder = URL(fileURLWithPath: path)
} else {
    print("give --folder or --repo")
    exit(2)
}
let encoder = Encoder(tokenizer: try await AutoTokenizer.from(modelFolder: folder))
var model: MLModel?
if let package = Contract.package {
    let configuration = MLModelConfiguration()
    configuration.computeUnits = .cpuAndNeuralEngine
    let compiled = try await MLModel.compileModel(at: folder.appendingPathComponent(package))
    model = try MLModel(contentsOf: compiled, configuration: configuration)
}
if let query = options["--query"] {
    guard let rows = encoder.rows(query, options["--document"] ?? "") else {
        print("the query leaves no token for the document: there is no score")
        exit(1)
    }
    print(rows.map(\.ids))
    if let model {
        let found = try await logit(model, rows)
        print("logit \(found), score \(score(found))")
    }
} else {
    let file = options["--goldens"].map { URL(fileURLWithPath: $0) } ?? folder.appendingPathComponent("golden.json")
    exit(try await checkGoldens(encoder, model, file) == 0 ? 0 : 1)
}
