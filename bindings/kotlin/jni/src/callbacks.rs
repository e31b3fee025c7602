//! Functions of the app's that limbeck calls: decrypting, logging, and taking tokens.

use std::sync::Arc;

use jni::objects::{JByteArray, JObject, JString, JValue};
use jni::refs::Global;
use jni::{Env, JavaVM, jni_sig, jni_str};
use limbeck_sdk::Piece;
use limbeck_sdk::runtime::{self, LogLevel};

use crate::failure::Failure;

/// A `Decryptor` of Kotlin's.
pub(crate) struct Decryptor(Global<JObject<'static>>);

impl Decryptor {
    pub(crate) fn new(env: &Env, object: &JObject) -> Result<Self, Failure> {
        Ok(Self(env.new_global_ref(object)?))
    }

    /// Called on the thread that opens the bundle. What the function throws is its reason.
    pub(crate) fn decrypt(&self, section: &str, stored: &[u8]) -> Result<Vec<u8>, String> {
        let call = |env: &mut Env| -> jni::errors::Result<Vec<u8>> {
            let (section, stored) = (env.new_string(section)?, env.byte_array_from_slice(stored)?);
            let arguments = [JValue::Object(&section), JValue::Object(&stored)];
            let content =
                env.call_method(&self.0, jni_str!("decrypt"), jni_sig!("(Ljava/lang/String;[B)[B"), &arguments)?.l()?;
            let content = env.cast_local::<JByteArray>(content)?;
            env.convert_byte_array(&content)
        };
        let told = JavaVM::singleton().and_then(|vm| {
            vm.attach_current_thread_for_scope(|env| {
                Ok::<_, jni::errors::Error>(call(env).map_err(|error| words(env, &error)))
            })
        });
        let content = told.unwrap_or_else(|error| Err(error.to_string()));
        content.map_err(|words| format!("the decryptor failed: {words}"))
    }
}

/// What an exception that is pending says, or else the error; it is pending no more.
fn words(env: &mut Env, error: &jni::errors::Error) -> String {
    let Some(thrown) = env.exception_occurred() else { return error.to_string() };
    env.exception_clear();
    let text = env
        .call_method(&thrown, jni_str!("toString"), jni_sig!("()Ljava/lang/String;"), &[])
        .and_then(|text| env.cast_local::<JString>(text.l()?)?.try_to_string(env));
    text.unwrap_or_else(|_| {
        env.exception_clear();
        error.to_string()
    })
}

/// Gives a token to a `PieceFunction` of Kotlin's, and its answer, whether to go on. Without one the text goes on. What
/// it throws is pending afterwards.
pub(crate) fn take(env: &Env, function: &JObject, piece: &Piece) -> Result<bool, Failure> {
    if function.is_null() {
        return Ok(true);
    }
    // A frame for each token: a text has more of them than a native method has room for local references.
    env.with_local_frame(4, |env| {
        let text = env.new_string(&piece.text)?;
        // As Kotlin reads ids of tokens everywhere; no vocabulary is so large that one is negative.
        let id = i32::try_from(piece.id).unwrap_or(i32::MAX);
        let arguments = [JValue::Int(id), JValue::Object(&text)];
        Ok(env.call_method(function, jni_str!("take"), jni_sig!("(ILjava/lang/String;)Z"), &arguments)?.z()?)
    })
}

/// By the numbers of `LIMBECK_LOG_`.
const LEVELS: [LogLevel; 5] = [LogLevel::Verbose, LogLevel::Info, LogLevel::Warning, LogLevel::Error, LogLevel::Fatal];

/// Gives log messages to a `Logger` of Kotlin's; null stops that.
pub(crate) fn set_logger(env: &Env, lowest: i32, logger: &JObject) -> Result<(), Failure> {
    let lowest = *usize::try_from(lowest)
        .ok()
        .and_then(|lowest| LEVELS.get(lowest))
        .ok_or_else(|| Failure::internal(format!("log level {lowest}")))?;
    if logger.is_null() {
        runtime::set_logger(lowest, None);
        return Ok(());
    }
    let logger: Global<JObject<'static>> = env.new_global_ref(logger)?;
    let tell = move |level: LogLevel, message: &str| {
        let level = LEVELS.iter().position(|known| *known == level).and_then(|at| i32::try_from(at).ok()).unwrap_or(4);
        let call = |env: &mut Env| -> jni::errors::Result<()> {
            let message = env.new_string(message)?;
            let arguments = [JValue::Int(level), JValue::Object(&message)];
            env.call_method(&logger, jni_str!("tell"), jni_sig!("(ILjava/lang/String;)V"), &arguments)?;
            Ok(())
        };
        // ONNX Runtime's own threads come here, too. There is nobody to tell of a failure but the logger itself.
        let _ = JavaVM::singleton().and_then(|vm| {
            vm.attach_current_thread_for_scope(|env| {
                // One that the caller's code has thrown and that is on its way stays as it is.
                if env.exception_check() {
                    return Ok(());
                }
                let told = call(env);
                env.exception_clear();
                told
            })
        });
    };
    runtime::set_logger(lowest, Some(Arc::new(tell)));
    Ok(())
}
