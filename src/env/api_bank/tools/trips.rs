//! Level 3: flights and hotel rooms. Both turn a found row's dates into text, and fail on it when it is found again.

use super::check::{self, Pair, Verdict};
use super::world_facts::same_part;
use super::{Call, Output, Tool};
use crate::env::api_bank::text::{self, DAY, Moment, SECOND};
use crate::env::api_bank::value::Value;

pub const TOOLS: &[Tool] =
    &[Tool::new("FlightSearch", flights, check::named_exact), Tool::new("HotelAvailability", rooms, rooms_check)];

fn moment(row: &Value, name: &str, format: &str) -> Result<Moment, String> {
    text::parse(row.get(name).and_then(Value::as_str).unwrap_or_default(), format)
}

fn flights(call: &mut Call) -> Output {
    let day = call.moment("travel_dates", DAY)?;
    let (from, to) = (call.arg("source"), call.arg("destination"));
    let mut found = Vec::new();
    for place in 0..call.world.flown.len() {
        let flight = call.world.library().facts.flights[place].clone();
        if flight.get("source") != Some(&from) || flight.get("destination") != Some(&to) {
            continue;
        }
        if call.world.flown[place] {
            return Err("'str' object has no attribute 'date'".into());
        }
        let leaves = moment(&flight, "departure_date", SECOND)?;
        if (leaves.year, leaves.month, leaves.day) == (day.year, day.month, day.day) {
            call.world.flown[place] = true;
            found.push(flight);
        }
    }
    Ok(Value::dict([("flights", Value::list(found))]))
}

fn rooms(call: &mut Call) -> Output {
    let (from, to) = (call.moment("check_in_date", DAY)?, call.moment("check_out_date", DAY)?);
    let destination = call.arg("destination");
    let mut found = Vec::new();
    for place in 0..call.world.stayed.len() {
        let room = call.world.library().facts.rooms[place].clone();
        if room.get("destination") != Some(&destination)
            || from < moment(&room, "check_in_date", DAY)?
            || to > moment(&room, "check_out_date", DAY)?
        {
            continue;
        }
        if call.world.stayed[place] {
            return Err("'str' object has no attribute 'strftime'".into());
        }
        call.world.stayed[place] = true;
        found.push(room);
    }
    Ok(Value::dict([("hotels", Value::list(found))]))
}

fn rooms_check(pair: &Pair) -> Verdict {
    pair.same_name()?;
    let input =
        pair.same_input("destination")? && pair.same_input("check_in_date")? && pair.same_input("check_out_date")?;
    Ok(input && same_part(pair, "hotels")?)
}
