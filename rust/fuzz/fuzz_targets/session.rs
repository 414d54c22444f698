//! Two clients of one broker that may send anything, in any pieces, read or not, come and go: nothing panics, what
//! they are sent is protocol, and nothing is left of them when they are gone.
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
