//! Two clients of one broker that send arbitrary bytes in arbitrary pieces, read or stop reading, connect and disconnect. Nothing
//! panics, all output is protocol, and nothing of the clients remains after they are gone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::script;
use stonechat_fuzz::world::World;

fuzz_target!(|data: &[u8]| {
    let [settings, play @ ..] = data else { return };
    let mut world = World::new(*settings);
    for step in script::parse(play) {
        world.step(step);
    }
    world.end();
});
