// swift-tools-version: 5.9
// Written by "crossrank consumer"; do not edit it.
import PackageDescription

let package = Package(
    name: "Predict",
    platforms: [.macOS("15.0")],
    dependencies: [
        .package(url: "https://github.com/huggingface/swift-transformers", from: "1.3.0")
    ],
    targets: [
        .executableTarget(
            name: "Predict",
            dependencies: [.product(name: "Transformers", package: "swift-transformers")])
    ]
)
