//! limbeck for the JVM and Android: the native methods of `io.github.limbeck.Native`.
//!
//! It stands on the sdk as `capi` does, with the same calls and the same errors. Most methods take one array of bytes
//! and give one back (`wire`), so that all of what they do is plain Rust on slices; Kotlin holds numbers and no
//! pointers (`handles`). Whatever fails or panics becomes a `LimbeckException`.
//!
//! Classes and library belong together: [`CONTRACT`] is raised with every change of either side, and Kotlin refuses
//! a library of another contract.

mod call;
mod callbacks;
#[path = "../../../../capi/src/descriptor.rs"]
mod descriptor;
mod failure;
mod handles;
#[path = "../../../../capi/src/locate.rs"]
mod locate;
mod models;
#[path = "../../../../capi/src/ffi/panic_text.rs"]
mod panic_text;
mod results;
mod tasks;
mod wire;
mod writing;

use jni::EnvUnowned;
use jni::objects::{JByteArray, JClass, JObject, JString};
use jni::sys::{jint, jlong};
use limbeck_sdk::Cancel;

use failure::{Failure, guard};
use wire::Reader;

/// What this library and the classes `io.github.limbeck` agree on; `Native.CONTRACT` in Kotlin.
pub const CONTRACT: i32 = 3;

/// Native methods that take a request and give a reply.
macro_rules! calls {
    ($($symbol:ident => $call:path;)*) => {$(
        // SAFETY: no other library has a symbol of this name: it begins with the class's.
        #[unsafe(no_mangle)]
        extern "system" fn $symbol<'local>(
            mut env: EnvUnowned<'local>,
            _: JClass<'local>,
            request: JByteArray<'local>,
        ) -> JByteArray<'local> {
            guard(&mut env, |env| {
                let request = env.convert_byte_array(&request)?;
                let reply = $call(&mut Reader::new(&request))?;
                Ok(env.byte_array_from_slice(&reply)?)
            })
        }
    )*};
}

calls! {
    Java_io_github_limbeck_Native_loadRuntime => models::load_runtime;
    Java_io_github_limbeck_Native_verifyBundle => models::verify_bundle;
    Java_io_github_limbeck_Native_openModel => models::open_model;
    Java_io_github_limbeck_Native_modelBundle => models::model_bundle;
    Java_io_github_limbeck_Native_warmUp => models::warm_up;
    Java_io_github_limbeck_Native_selfTest => models::self_test;
    Java_io_github_limbeck_Native_countTokens => models::count_tokens;
    Java_io_github_limbeck_Native_providers => models::providers;
    Java_io_github_limbeck_Native_memory => models::memory;
    Java_io_github_limbeck_Native_metrics => models::metrics;
    Java_io_github_limbeck_Native_slotNew => models::slot_new;
    Java_io_github_limbeck_Native_slotModel => models::slot_model;
    Java_io_github_limbeck_Native_slotGeneration => models::slot_generation;
    Java_io_github_limbeck_Native_slotPublish => models::slot_publish;
    Java_io_github_limbeck_Native_slotRollBack => models::slot_roll_back;
    Java_io_github_limbeck_Native_slotForgetPrevious => models::slot_forget_previous;
    Java_io_github_limbeck_Native_classify => tasks::classify;
    Java_io_github_limbeck_Native_classifyPairs => tasks::classify_pairs;
    Java_io_github_limbeck_Native_zeroShot => tasks::zero_shot;
    Java_io_github_limbeck_Native_rerank => tasks::rerank;
    Java_io_github_limbeck_Native_tag => tasks::tag;
    Java_io_github_limbeck_Native_answer => tasks::answer;
    Java_io_github_limbeck_Native_embed => tasks::embed;
    Java_io_github_limbeck_Native_fillMask => tasks::fill_mask;
    Java_io_github_limbeck_Native_order => tasks::order;
    Java_io_github_limbeck_Native_replaced => tasks::replaced;
    Java_io_github_limbeck_Native_generateBatch => writing::generate_batch;
    Java_io_github_limbeck_Native_choose => writing::choose;
    Java_io_github_limbeck_Native_score => writing::score;
    Java_io_github_limbeck_Native_perplexity => writing::perplexity;
    Java_io_github_limbeck_Native_similarity => tasks::similarity;
    Java_io_github_limbeck_Native_nearest => tasks::nearest;
    Java_io_github_limbeck_Native_headFit => tasks::head_fit;
    Java_io_github_limbeck_Native_headLoad => tasks::head_load;
    Java_io_github_limbeck_Native_headSave => tasks::head_save;
    Java_io_github_limbeck_Native_headClassify => tasks::head_classify;
}

// SAFETY: as above, and so for all that follow.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_openBundle<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
    request: JByteArray<'local>,
    decryptor: JObject<'local>,
) -> JByteArray<'local> {
    guard(&mut env, |env| {
        let request = env.convert_byte_array(&request)?;
        let reply = models::open_bundle(env, &mut Reader::new(&request), &decryptor)?;
        Ok(env.byte_array_from_slice(&reply)?)
    })
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_generate<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
    request: JByteArray<'local>,
    function: JObject<'local>,
) -> JByteArray<'local> {
    guard(&mut env, |env| {
        let request = env.convert_byte_array(&request)?;
        let reply = writing::generate(env, &mut Reader::new(&request), &function)?;
        Ok(env.byte_array_from_slice(&reply)?)
    })
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_setLogger<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
    lowest: jint,
    logger: JObject<'local>,
) {
    guard(&mut env, |env| callbacks::set_logger(env, lowest, &logger));
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_cancelNew<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
) -> jlong {
    guard(&mut env, |_| Ok(handles::give(Cancel::new())))
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_cancelTrigger<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
    cancel: jlong,
) {
    guard(&mut env, |_| {
        handles::get::<Cancel>(cancel)?.cancel();
        Ok(())
    });
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_close<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
    handle: jlong,
) {
    guard(&mut env, |_| handles::close(handle));
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_openHandles<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
) -> jlong {
    guard(&mut env, |_| Ok(i64::try_from(handles::open()).unwrap_or(i64::MAX)))
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_contract<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
) -> jint {
    guard(&mut env, |_| Ok::<_, Failure>(CONTRACT))
}

// SAFETY: see `calls`.
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_version<'local>(
    mut env: EnvUnowned<'local>,
    _: JClass<'local>,
) -> JString<'local> {
    guard(&mut env, |env| Ok(env.new_string(env!("CARGO_PKG_VERSION"))?))
}

/// Panics, for the tests; see build.rs.
// SAFETY: see `calls`.
#[cfg(limbeck_test_hooks)]
#[unsafe(no_mangle)]
extern "system" fn Java_io_github_limbeck_Native_testPanic<'local>(mut env: EnvUnowned<'local>, _: JClass<'local>) {
    guard(&mut env, |_| -> Result<(), Failure> { panic!("a panic asked for by a test") });
}
