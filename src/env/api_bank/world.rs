//! The state that calls change: tables, shared with every other world until they are written to.

use super::library::{Library, Suite};
use super::tools::{self, Raised};
use super::value::{Dict, Text, Value};
use crate::base::Seed;
use std::sync::Arc;

/// What tools write to. The names are those of the data's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Account,
    Agenda,
    Alarm,
    Appointments,
    HealthData,
    Hotel,
    Meeting,
    Reminder,
    Scenes,
    TimeSwitch,
    /// Of no file: there is one account to begin with.
    BankAccounts,
}

impl Table {
    pub const FILES: [(Table, &str); 10] = [
        (Table::Account, "Account"),
        (Table::Agenda, "Agenda"),
        (Table::Alarm, "Alarm"),
        (Table::Appointments, "Appointments"),
        (Table::HealthData, "HealthData"),
        (Table::Hotel, "Hotel"),
        (Table::Meeting, "Meeting"),
        (Table::Reminder, "Reminder"),
        (Table::Scenes, "Scenes"),
        (Table::TimeSwitch, "TimeSwitch"),
    ];
    pub const COUNT: usize = Self::FILES.len() + 1;
}

pub type Tables = [Arc<Dict>; Table::COUNT];

/// Which tools there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// 1 and 2.
    General,
    Three,
}

/// Dictionary and Translate ask services online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// They answer what the data recorded, and fail otherwise.
    Recorded,
    /// They fail.
    Down,
}

#[derive(Clone, Debug)]
pub struct World {
    library: Arc<Library>,
    level: Level,
    pub network: Network,
    tables: Tables,
    /// Who asked for a new password.
    pub forgot: Option<Text>,
    /// Flights and rooms that were found once are broken for whoever finds them again.
    pub flown: Vec<bool>,
    pub stayed: Vec<bool>,
    drawn: u64,
}

impl World {
    pub fn new(library: &Arc<Library>, level: Level, network: Network) -> Self {
        let (flights, rooms) = (library.facts.flights.len(), library.facts.rooms.len());
        Self {
            level,
            network,
            tables: library.tables.clone(),
            forgot: None,
            flown: vec![false; flights],
            stayed: vec![false; rooms],
            drawn: 0,
            library: library.clone(),
        }
    }

    pub fn library(&self) -> &Library {
        &self.library
    }

    pub fn suite(&self) -> &Suite {
        self.library.suite(self.level)
    }

    pub fn table(&self, table: Table) -> &Dict {
        &self.tables[table as usize]
    }

    pub fn table_mut(&mut self, table: Table) -> &mut Dict {
        Arc::make_mut(&mut self.tables[table as usize])
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        Seed(0xba2c).bits(self.drawn)
    }

    /// Eighteen letters and digits.
    pub fn random_token(&mut self) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..18).map(|_| char::from(LETTERS[(self.draw() % LETTERS.len() as u64) as usize])).collect()
    }

    /// Eight digits that no appointment has.
    pub fn random_appointment(&mut self) -> Text {
        loop {
            let id: Text = (10_000_000 + self.draw() % 90_000_000).to_string().into();
            if self.table(Table::Appointments).get(&id).is_none() {
                return id;
            }
        }
    }

    /// A call's whole answer: input, output and exception.
    ///
    /// # Errors
    /// What the original raises instead of answering.
    pub fn call(&mut self, name: &str, given: Vec<(Text, Value)>) -> Result<Value, Raised> {
        // The original's own parameters come before those of the tool.
        if let Some((own, _)) = given.iter().find(|(name, _)| matches!(&**name, "self" | "tool_name")) {
            let message = format!("ToolManager.api_call() got multiple values for argument '{own}'");
            return Err(Raised::new("TypeError", message));
        }
        let library = self.library.clone();
        let Some(spec) = library.suite(self.level).specs.get(name) else {
            return Err(Raised::new("Exception", "invalid tool name."));
        };
        tools::call(self, spec.tool, spec.parameters(), given)
    }
}
