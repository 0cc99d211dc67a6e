//! Appointments at a doctor's, and hotel rooms.

use super::check::{self, Pair, Verdict};
use super::{Call, Output, Shown, Tool, fields, success};
use crate::env::api_bank::text::{self, DAY, reformatted};
use crate::env::api_bank::value::{Dict, Key, Value};
use crate::env::api_bank::world::Table;
use std::sync::Arc;

pub const TOOLS: &[Tool] = &[
    Tool::new("AppointmentRegistration", register, register_check),
    Tool::new("CancelRegistration", cancel, cancel_check),
    Tool::new("ModifyRegistration", modify, modify_check)
        .optional(&["new_appointment_date", "new_appointment_doctor"], Shown::All),
    Tool::new("QueryRegistration", query, query_check),
    Tool::new("BookHotel", book_hotel, check::exact),
];

/// Whether a row is a patient's on a day.
fn is_on(row: &Value, patient: &str, date: &str) -> bool {
    let of = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default();
    of("patient_name") == patient && reformatted(of("date"), DAY).as_deref() == Ok(date)
}

fn register(call: &mut Call) -> Output {
    let (patient, doctor) = (call.stripped("patient_name")?, call.stripped("doctor_name")?);
    if patient.is_empty() || doctor.is_empty() {
        return Err("Patient name or doctor name cannot be empty.".into());
    }
    let date = reformatted(&call.text("date", "strip")?, DAY)?;
    let mut rows = call.table(Table::Appointments).rows().iter();
    if let Some((_, row)) = rows.find(|(_, row)| is_on(row, &patient, &date)) {
        let same = row.get("doctor_name").and_then(Value::as_str) == Some(doctor.as_str());
        let again = "This appointment has already been registered.";
        return Err(if same { again } else { "This patient has already been registered in this day." }.into());
    }
    let id = call.world.random_appointment();
    let row = [("patient_name", patient), ("date", date), ("doctor_name", doctor)].map(|(k, v)| (k, Value::str(v)));
    call.table_mut(Table::Appointments).insert(Key::Text(id.clone()), Value::Dict(Arc::new(Dict::of(row))));
    Ok(Value::Str(id))
}

fn cancel(call: &mut Call) -> Output {
    let id = call.stripped("appointment_id")?;
    match call.table_mut(Table::Appointments).remove(&id) {
        Some(_) => success(),
        None => Err("The appointment ID is incorrect.".into()),
    }
}

fn modify(call: &mut Call) -> Output {
    let id = call.stripped("appointment_id")?;
    let Some(old) = call.table(Table::Appointments).get(&id).cloned() else {
        return Err("The appointment ID does not exist.".into());
    };
    let given = |name: &str| (!call.arg(name).is_none()).then(|| call.text(name, "strip")).transpose();
    let date = given("new_appointment_date")?.map(|date| reformatted(&date, DAY));
    let doctor = given("new_appointment_doctor")?.map(|doctor| text::strip(&doctor).to_owned());
    if doctor.as_deref() == Some("") {
        return Err("Fail because the doctor name is empty.".into());
    }
    let date = date.transpose()?;
    let same =
        |field: &str, new: &Option<String>| new.is_some() && old.get(field).and_then(Value::as_str) == new.as_deref();
    match (same("date", &date), same("doctor_name", &doctor)) {
        _ if date.is_none() && doctor.is_none() => return Err("Fail because no modification is made.".into()),
        (true, true) => return Err("Fail because no modification is made.".into()),
        (true, false) => return Err("Fail because date is not changed.".into()),
        (false, true) => return Err("Fail because doctor is not changed.".into()),
        (false, false) => {}
    }
    if let Some(row) = call.table_mut(Table::Appointments).get_mut(&id) {
        for (field, new) in [("date", date), ("doctor_name", doctor)] {
            if let Some(new) = new {
                fields(row).set(field, Value::str(new));
            }
        }
    }
    success()
}

fn query(call: &mut Call) -> Output {
    let patient = call.stripped("patient_name")?;
    let date = reformatted(&call.text("date", "strip")?, DAY)?;
    let rows = call.table(Table::Appointments).rows().iter();
    let found: Vec<(Key, Value)> = rows.filter(|(_, row)| is_on(row, &patient, &date)).cloned().collect();
    if found.is_empty() {
        return Err("No appointments found.".into());
    }
    Ok(Value::Dict(Arc::new(Dict::from_rows(found))))
}

/// A stay overlaps another where it begins or ends in it: one that encloses it goes unnoticed.
fn book_hotel(call: &mut Call) -> Output {
    let (from, to) = (call.moment("check_in_time", DAY)?, call.moment("check_out_time", DAY)?);
    let count = |name: &str| call.arg(name).number().unwrap_or_default();
    if count("adult_count") > 2.0 && count("room_count") == 1.0 {
        return Err("The number of adults is greater than 2. Two rooms are ordered.".into());
    }
    let hotel = call.arg("hotel_name");
    for (_, row) in call.table(Table::Hotel).rows().iter().filter(|(_, row)| row.get("hotel_name") == Some(&hotel)) {
        let day = |field: &str| text::parse(row.get(field).and_then(Value::as_str).unwrap_or_default(), DAY);
        let (begins, ends) = (day("check_in_time")?, day("check_out_time")?);
        if (begins <= from && from < ends) || (begins < to && to <= ends) {
            return Err("The room is not available.".into());
        }
    }
    let id: Arc<str> = (call.table(Table::Hotel).len() + 1).to_string().into();
    let row = Value::Dict(Arc::new(call.input.clone()));
    call.table_mut(Table::Hotel).insert(Key::Text(id.clone()), row);
    Ok(Value::Str(id))
}

fn date_alike(pair: &Pair, name: &str) -> Verdict {
    pair.alike(name, |it| reformatted(it, DAY))
}

/// The number is drawn: it is not compared.
fn register_check(pair: &Pair) -> Verdict {
    let [response, gold] = pair.both("output")?;
    Ok(pair.stripped("patient_name")?
        && date_alike(pair, "date")?
        && pair.stripped("doctor_name")?
        && (!gold.is_none() || response.is_none())
        && pair.same("exception")?)
}

fn cancel_check(pair: &Pair) -> Verdict {
    Ok(pair.stripped("appointment_id")? && pair.result()?)
}

fn modify_check(pair: &Pair) -> Verdict {
    let none = |name: &str| pair.input(name).map(|[a, b]| a.is_none() && b.is_none());
    let one_none = |name: &str| pair.input(name).map(|[a, b]| a.is_none() != b.is_none());
    let (date, doctor) = ("new_appointment_date", "new_appointment_doctor");
    if !pair.stripped("appointment_id")? || one_none(date)? || one_none(doctor)? {
        return Ok(false);
    }
    let date = none(date)? || date_alike(pair, date)?;
    let doctor = none(doctor)? || pair.stripped(doctor)?;
    Ok(date && doctor && pair.result()?)
}

fn query_check(pair: &Pair) -> Verdict {
    Ok(pair.stripped("patient_name")? && date_alike(pair, "date")? && pair.result()?)
}
