//! Random histories against a model that is a plain list.

use std::sync::Arc;

use bennu_pubsub::{Gate, PubSub, Publish, Registration};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{Recorder, big_above, local_with, message};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const IN_PLACE_MAX: usize = 300;

#[derive(Clone, Debug)]
enum Step {
    Join {
        topic: usize,
        crowd: usize,
    },
    Leave {
        who: prop::sample::Index,
        crowd: usize,
    },
    Broadcast {
        topic: usize,
    },
    BroadcastFrom {
        topic: usize,
        who: prop::sample::Index,
    },
    BroadcastAs {
        who: prop::sample::Index,
    },
    /// Lets the lanes run until they are through.
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let topic = 0..TOPICS.len();
    let crowd = prop_oneof![4 => 1..4_usize, 1 => 200..600_usize];
    let who = any::<prop::sample::Index>;
    prop_oneof![
        4 => (topic.clone(), crowd.clone()).prop_map(|(topic, crowd)| Step::Join { topic, crowd }),
        4 => (who(), crowd).prop_map(|(who, crowd)| Step::Leave { who, crowd }),
        3 => topic.clone().prop_map(|topic| Step::Broadcast { topic }),
        2 => (topic, who()).prop_map(|(topic, who)| Step::BroadcastFrom { topic, who }),
        2 => who().prop_map(|who| Step::BroadcastAs { who }),
        2 => Just(Step::Drain),
    ]
}

struct Member {
    token: u64,
    topic: usize,
    registration: Registration,
}

/// A broadcast that waits in the lanes.
struct Waiting {
    topic: usize,
    event: String,
    before: u64,
    skip: Vec<u64>,
}

struct World {
    pubsub: PubSub,
    recorder: Arc<Recorder>,
    gate: Arc<Gate>,
    members: Vec<Member>,
    waiting: Vec<Waiting>,
    next_token: u64,
    next_event: u64,
}

impl World {
    fn new() -> Self {
        Self {
            pubsub: local_with(&big_above(IN_PLACE_MAX)),
            recorder: Recorder::new(),
            gate: Arc::new(Gate::default()),
            members: Vec::new(),
            waiting: Vec::new(),
            next_token: 0,
            next_event: 0,
        }
    }

    fn join(&mut self, topic: usize) {
        let token = self.next_token;
        self.next_token += 1;
        let registration = self.recorder.join(&self.pubsub, TOPICS[topic], token);
        self.members.push(Member {
            token,
            topic,
            registration,
        });
    }

    /// Broadcasts, and checks who was served before the call returned.
    fn broadcast(&mut self, topic: usize, sender: Option<usize>, except: Option<usize>) {
        let event = self.next_event.to_string();
        self.next_event += 1;
        let publish = Publish {
            sender: sender.map(|index| &self.members[index].registration),
            except: except.map(|index| self.members[index].registration.id()),
            gate: Some(&self.gate),
            ..Publish::default()
        };
        let dispatched = self
            .pubsub
            .publish(message(TOPICS[topic], &event), &publish)
            .unwrap();
        let audience = self
            .members
            .iter()
            .filter(|member| member.topic == topic)
            .count();
        let queued = audience > IN_PLACE_MAX
            || audience > 0 && self.waiting.iter().any(|waiting| waiting.topic == topic);
        assert_eq!(dispatched.queued, queued);
        let token = |index: Option<usize>| index.map(|index| self.members[index].token);
        let mut waiting = Waiting {
            topic,
            event,
            before: self.next_token,
            skip: token(except).into_iter().collect(),
        };
        let expected = if queued {
            let own: Vec<_> = token(sender)
                .map(|token| (token, waiting.event.clone()))
                .into_iter()
                .collect();
            waiting.skip.extend(token(sender));
            self.waiting.push(waiting);
            own
        } else {
            self.served(&waiting)
        };
        assert_eq!(self.seen(), expected);
    }

    fn served(&self, waiting: &Waiting) -> Vec<(u64, String)> {
        let meant = |member: &&Member| {
            member.topic == waiting.topic
                && member.token < waiting.before
                && !waiting.skip.contains(&member.token)
        };
        let mut served: Vec<_> = self
            .members
            .iter()
            .filter(meant)
            .map(|member| (member.token, waiting.event.clone()))
            .collect();
        served.sort();
        served
    }

    /// What the recorder saw, by token; what one token saw stays in the order in which it came.
    fn seen(&self) -> Vec<(u64, String)> {
        let mut seen = self.recorder.take();
        seen.sort_by_key(|seen| seen.0);
        seen
    }

    async fn drain(&mut self) {
        self.gate.idle().await;
        let mut expected: Vec<_> = self
            .waiting
            .iter()
            .flat_map(|waiting| self.served(waiting))
            .collect();
        expected.sort_by_key(|served| served.0);
        assert_eq!(self.seen(), expected);
        self.waiting.clear();
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Join { topic, crowd } => (0..crowd).for_each(|_| self.join(topic)),
            Step::Leave { who, crowd } => {
                for _ in 0..crowd.min(self.members.len()) {
                    let index = who.index(self.members.len());
                    // A topic that closes takes what waits for nobody with it.
                    drop(self.members.swap_remove(index));
                    self.forget_closed_topics();
                }
            }
            Step::Broadcast { topic } => self.broadcast(topic, None, None),
            Step::BroadcastFrom { topic, who } if !self.members.is_empty() => {
                self.broadcast(topic, None, Some(who.index(self.members.len())));
            }
            Step::BroadcastAs { who } if !self.members.is_empty() => {
                let index = who.index(self.members.len());
                self.broadcast(self.members[index].topic, Some(index), None);
            }
            Step::BroadcastFrom { .. } | Step::BroadcastAs { .. } => {}
            Step::Drain => self.drain().await,
        }
        let open = |topic: &usize| self.members.iter().any(|member| member.topic == *topic);
        assert_eq!(
            self.pubsub.topic_count(),
            (0..TOPICS.len()).filter(open).count()
        );
    }

    fn forget_closed_topics(&mut self) {
        let members = &self.members;
        self.waiting
            .retain(|waiting| members.iter().any(|member| member.topic == waiting.topic));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_registry_and_its_lanes_behave_like_a_list(steps in vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.step(step).await;
            }
            world.drain().await;
            world.members.clear();
            prop_assert_eq!(world.pubsub.topic_count(), 0);
            prop_assert_eq!(Arc::strong_count(&world.recorder), 1);
            Ok(())
        })?;
    }
}
