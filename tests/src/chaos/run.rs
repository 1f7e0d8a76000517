//! Carries out a plan.

pub(super) mod client;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use ::client::log::ConversationId;

use self::client::Resident;
use super::judge;
use super::plan::{Action, HomePlan, Plan, Step};
use crate::world::{self, World};

/// How long people may take to meet before the trouble begins.
const MEETING_TIME: Duration = Duration::from_secs(120);
/// How long everything may take to arrive once the trouble is over: the longest wait between two tries to reach a
/// peer is a minute, that to reach the server half of one.
const HEALING_TIME: Duration = Duration::from_secs(300);
/// How often it is looked whether everything has arrived.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long nothing more may happen after everything has arrived.
const REST_TIME: Duration = Duration::from_secs(5);

/// What a run came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Messages that were accepted.
    pub accepted: usize,
    /// Messages whose writer died before it heard.
    pub unknown: usize,
    /// Runs of clients.
    pub runs: usize,
    /// How long it took until everything had arrived, from the moment everything was healed.
    pub healing: Duration,
    /// The length of the whole, in virtual time.
    pub length: Duration,
}

/// A world with its plan.
pub(super) struct Run<'a> {
    plan: &'a Plan,
    world: World,
    pub(super) residents: Vec<Resident>,
    /// What is to come, by time and number.
    queue: BTreeMap<(Duration, usize), Action>,
    scheduled: usize,
    start: Instant,
    server_is_up: bool,
    bell: Arc<Notify>,
    /// The room, if they are all in one.
    room: Option<ConversationId>,
    /// Whether the story is told.
    verbose: bool,
}

/// Runs a plan and judges; the error says what is wrong.
pub(super) async fn run(plan: &Plan, verbose: bool) -> Result<Summary, String> {
    let mut run = Run::new(plan, verbose);
    let begin = world::now();
    run.open().await?;
    while let Some((&(at, number), &action)) = run.queue.first_key_value() {
        tokio::select! {
            biased;
            () = run.bell.notified() => run.bury().await,
            () = sleep_until(run.start + at) => {
                run.queue.remove(&(at, number));
                run.act(action).await?;
            }
        }
    }
    run.heal().await?;
    let healed = world::now();
    let patience = timeout(HEALING_TIME, async {
        while judge::unfinished(&run).await?.is_some() {
            sleep(LOOK_INTERVAL).await;
        }
        Ok::<_, String>(())
    });
    // What is missing after that, the verdict says.
    patience.await.unwrap_or(Ok(()))?;
    let healing = healed.elapsed();
    sleep(REST_TIME).await;
    let verdict = judge::verdict(&run).await;
    let mut summary = Summary { healing, length: begin.elapsed(), ..Summary::default() };
    for resident in &mut run.residents {
        summary.accepted += resident.said.iter().filter(|said| said.id.is_some()).count();
        summary.unknown += resident.said.iter().filter(|said| said.id.is_none()).count();
        summary.runs += resident.runs;
        resident.kill().await;
    }
    verdict.map(|()| summary)
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, verbose: bool) -> Self {
        let mut world = World::new(plan.seed);
        let bell = Arc::new(Notify::new());
        let mut residents = Vec::new();
        for HomePlan { access, clock } in &plan.homes {
            let mut home = world.home(access);
            home.wall_clock = match clock {
                1.. => world::fast_wall_clock,
                0 => world::wall_clock,
                _ => world::slow_wall_clock,
            };
            residents.push(Resident::new(home, Arc::clone(&bell)));
        }
        let sites: Vec<_> = residents.iter().map(|r| r.home.site).chain([world.server_site]).collect();
        for link in &plan.links {
            world.net.set_one_way(sites[link.from], sites[link.to], link.link);
        }
        let mut run = Self {
            plan,
            world,
            residents,
            queue: BTreeMap::new(),
            scheduled: 0,
            start: world::now(),
            server_is_up: true,
            bell,
            room: None,
            verbose,
        };
        for Step { at, action } in &plan.steps {
            run.schedule(*at, *action);
        }
        run
    }

    fn schedule(&mut self, at: Duration, action: Action) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), action);
    }

    /// The conversations that there are, with those who take part.
    pub(super) fn conversations(&self) -> Vec<(ConversationId, Vec<&Resident>)> {
        match self.room {
            Some(room) => vec![(room, self.residents.iter().collect())],
            None => {
                let pair = |(a, b): (usize, usize)| {
                    let (a, b) = (&self.residents[a], &self.residents[b]);
                    (ConversationId::direct(a.id, b.id), vec![a, b])
                };
                self.plan.pairs().map(pair).collect()
            }
        }
    }

    /// Where somebody writes to somebody.
    fn place(&self, who: usize, to: usize) -> ConversationId {
        let direct = || ConversationId::direct(self.residents[who].id, self.residents[to].id);
        self.room.unwrap_or_else(direct)
    }

    /// All are in one room before the trouble begins.
    async fn open_room(&mut self) -> Result<(), String> {
        let others: Vec<_> = self.residents.iter().skip(1).map(|resident| resident.id).collect();
        let room = self.residents[0].make_room(&others).await?;
        self.room = Some(room);
        let met = timeout(MEETING_TIME, async {
            loop {
                let mut is_whole = true;
                for resident in &self.residents {
                    is_whole &= resident.is_in_whole(room, others.len() + 1).await;
                }
                if is_whole {
                    return;
                }
                sleep(LOOK_INTERVAL).await;
            }
        });
        met.await.map_err(|_| "the room does not come together".to_owned())
    }

    /// All clients start; unless the plan has it otherwise, the trouble begins when they have met.
    async fn open(&mut self) -> Result<(), String> {
        for who in 0..self.residents.len() {
            self.start_client(who).await?;
            if who > 1 && !self.plan.is_room {
                self.residents[0].meet().await;
            }
            if who > 0 && !self.plan.early && !self.plan.is_room {
                let (left, right) = self.residents.split_at(who);
                let met = timeout(MEETING_TIME, async {
                    left[0].wait_met(right[0].id).await;
                    right[0].wait_met(left[0].id).await;
                });
                met.await.map_err(|_| format!("home 0 and home {who} do not meet"))?;
            }
        }
        if self.plan.is_room {
            self.open_room().await?;
        }
        self.start = world::now();
        self.tell("the trouble begins");
        Ok(())
    }

    fn tell(&self, what: &str) {
        if self.verbose {
            #[expect(clippy::print_stdout, reason = "the story of one seed is what was asked for")]
            {
                println!("{:>9.3} {what}", self.world.net.now().as_secs_f64());
            }
        }
    }

    async fn start_client(&mut self, who: usize) -> Result<(), String> {
        let id = self.residents[who].id;
        let confirmed: Vec<_> = self.residents.iter().flat_map(|other| other.confirmed_by(id)).collect();
        self.residents[who].start(&self.world, self.verbose).await;
        let kept = self.residents[who].stored(&confirmed, self.room).await?;
        let unknown: usize = self.residents.iter().map(|other| other.unknown_signs).sum();
        if kept + unknown < confirmed.len() {
            let lost = confirmed.len() - kept;
            return Err(format!(
                "home {who} has lost {lost} messages that it had confirmed before it was killed"
            ));
        }
        Ok(())
    }

    /// Whoever has died by a fault is dead altogether, and started again later.
    async fn bury(&mut self) {
        for who in 0..self.residents.len() {
            if let Some(absence) = self.residents[who].take_death() {
                self.tell(&format!("home {who} has died"));
                self.residents[who].kill().await;
                let at = world::now() - self.start + absence;
                self.schedule(at, Action::Start(who));
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), String> {
        self.tell(&format!("{action:?}"));
        match action {
            Action::Say { who, to, count, len } => {
                let place = self.place(who, to);
                let to = self.residents[to].id;
                for _ in 0..count {
                    self.residents[who].say(place, to, len).await;
                }
            }
            Action::SayAndKill { who, to, turns } => {
                let place = self.place(who, to);
                let to = self.residents[to].id;
                self.residents[who].say_and_die(place, to, turns).await;
            }
            Action::Topic(who) => self.residents[who].set_topic(self.room).await,
            Action::React(who) => self.residents[who].react(self.room).await,
            Action::Die { who, point, passes, absence } => self.residents[who].doom(point, passes, absence),
            Action::Kill(who) => self.residents[who].kill().await,
            Action::Leave(who) => self.residents[who].leave().await,
            Action::Start(who) => {
                if !self.residents[who].is_running() {
                    self.start_client(who).await?;
                }
            }
            Action::KillServer => {
                self.world.kill_server();
                self.server_is_up = false;
            }
            Action::StartServer => self.start_server(),
            Action::Rebind { .. } | Action::MoveHome(_) | Action::MoveHost(_) => self.change_network(action),
            _ => self.break_or_heal(action),
        }
        Ok(())
    }

    fn start_server(&mut self) {
        if !std::mem::replace(&mut self.server_is_up, true) {
            self.world.start_server();
        }
    }

    fn change_network(&self, action: Action) {
        match action {
            Action::Rebind { who, nat } => {
                let nats = &self.residents[who].home.nats;
                if !nats.is_empty() {
                    self.world.net.rebind(nats[nat % nats.len()]);
                }
            }
            Action::MoveHome(who) => self.world.move_home(&self.residents[who].home),
            Action::MoveHost(who) => self.world.move_host(&self.residents[who].home),
            _ => {}
        }
    }

    fn break_or_heal(&self, action: Action) {
        let net = &self.world.net;
        let host = |who: usize| self.residents[who].home.host;
        let outermost = |who: usize| self.residents[who].home.nats.last().copied();
        match action {
            Action::CutPair(a, b) => net.cut_pair(host(a), host(b)),
            Action::HealPair(a, b) => net.heal_pair(host(a), host(b)),
            Action::Cut(who) => net.cut(host(who)),
            Action::Heal(who) => net.heal(host(who)),
            Action::BlockUdp(who) => match outermost(who) {
                Some(nat) => net.block_udp(nat),
                None => net.cut(host(who)),
            },
            Action::AllowUdp(who) => match outermost(who) {
                Some(nat) => net.allow_udp(nat),
                None => net.heal(host(who)),
            },
            Action::FillDisk(who) => self.residents[who].fill_disk(true),
            Action::EmptyDisk(who) => self.residents[who].fill_disk(false),
            _ => {}
        }
    }

    /// Everything works again from now on, as well as the links are.
    async fn heal(&mut self) -> Result<(), String> {
        self.tell("everything heals");
        self.start_server();
        for who in 0..self.residents.len() {
            self.break_or_heal(Action::AllowUdp(who));
            self.break_or_heal(Action::Heal(who));
            self.break_or_heal(Action::EmptyDisk(who));
            for other in 0..who {
                self.break_or_heal(Action::HealPair(other, who));
            }
            if self.residents[who].take_death().is_some() {
                self.residents[who].kill().await;
            }
            if self.residents[who].is_running() {
                self.residents[who].spare();
            } else {
                self.start_client(who).await?;
            }
        }
        Ok(())
    }
}
