# For CocoaPods. NOT RUN: `pod lib lint` needs a Mac.
#
# Limbeck.xcframework, made by capi/packaging/xcframework.sh, must lie beside this file; a release carries both in its
# archive, whose address and hash are in `source`.
Pod::Spec.new do |pod|
  pod.name = 'Limbeck'
  pod.version = '0.1.0'
  pod.summary = 'Run distilled language models on the device'
  pod.homepage = 'https://github.com/limbeck/limbeck'
  pod.license = { type: 'MIT OR Apache-2.0', file: 'Limbeck.xcframework/LICENSE-MIT' }
  pod.author = 'The limbeck authors'
  pod.source = { http: "https://github.com/limbeck/limbeck/releases/download/v#{pod.version}/Limbeck-#{pod.version}.zip" }
  pod.ios.deployment_target = '15.1'
  pod.osx.deployment_target = '13.4'
  pod.swift_versions = ['5.9', '6.0']
  pod.source_files = 'Sources/Limbeck/**/*.swift'
  pod.vendored_frameworks = 'Limbeck.xcframework'
end
