"""Messages as they were seen, with where."""

from __future__ import annotations

# esphome/issues, "When use mqtt API, the Subscribed topics and state_topic not contained the dev
# info"; the keys as esphome/esphome, mqtt_component.cpp and mqtt_const.h write them.
ESPHOME_CONFIG = (
    "homeassistant/sensor/c3-debug-7b55e0/pressure_voltage/config",
    '{"dev_cla":"voltage","unit_of_meas":"V","stat_cla":"measurement","name":"Pressure voltage",'
    '"stat_t":"c3-debug/sensor/pressure_voltage/state","avty_t":"c3-debug/status",'
    '"uniq_id":"ESPsensorpressure_voltage","obj_id":"c3-debug-7b55e0_pressure_voltage",'
    '"dev":{"ids":"6055f97b55e0","name":"c3-debug-7b55e0","sw":"2023.6.2",'
    '"mdl":"airm2m_core_esp32c3","mf":"Espressif"}}',
)
# home-assistant/core, issue "MQTT sensor values from esphomelib sensor are not displayed"; there
# the state was "nan".
ESPHOME_GAS = (
    "homeassistant/sensor/bedroom_environment/bedroom_gas/config",
    '{"unit_of_measurement":"\u2126","expire_after":180,"icon":"mdi:gas-cylinder",'
    '"name":"Bedroom Gas","state_topic":"bedroom_environment/sensor/bedroom_gas/state",'
    '"availability_topic":"bedroom_environment/status"}',
)
# jim-easterbrook/pywws, issue "Feature request for mqtt: discovery for Home Assistant".
ZIGBEE = (
    "homeassistant/sensor/0x00124b00253c5f14/temperature/config",
    '{"availability":[{"topic":"myhome/bridge/state","value_template":"{{ value_json.state }}"}],'
    '"device":{"identifiers":["zigbee2mqtt_0x00124b00253c5f14"],"manufacturer":"SONOFF",'
    '"model":"Temperature and humidity sensor (SNZB-02)","name":"Temp Sensor"},'
    '"device_class":"temperature","enabled_by_default":true,"name":"Temp Sensor temperature",'
    '"state_class":"measurement","state_topic":"myhome/Temp Sensor",'
    '"unique_id":"0x00124b00253c5f14_temperature_myhome","unit_of_measurement":"\u00b0C",'
    '"value_template":"{{ value_json.temperature }}"}',
)
# emsesp/EMS-ESP32, issue "MQTT autodiscovery in Domoticz not working".
BOILER = (
    "homeassistant/sensor/ems-esp/boiler_boiltemp/config",
    '{"uniq_id":"boiler_actual_boiler_temperature","obj_id":"boiler_actual_boiler_temperature",'
    '"stat_t":"ems-esp/boiler_data","name":"Actual boiler temperature",'
    '"val_tpl":"{{value_json.boiltemp}}","unit_of_meas":"\u00b0C","stat_cla":"measurement",'
    '"dev_cla":"temperature","dev":{"ids":["ems-esp-boiler"]}}',
)
BOILER_PRESSURE = (
    "homeassistant/sensor/ems-esp/boiler_system_pressure/config",
    '{"uniq_id":"boiler_system_pressure","obj_id":"boiler_system_pressure",'
    '"stat_t":"ems-esp/boiler_data","name":"System pressure","val_tpl":"{{value_json.syspress}}",'
    '"unit_of_meas":"bar","stat_cla":"measurement","dev_cla":"pressure",'
    '"dev":{"ids":["ems-esp-boiler"]}}',
)
# arendst/Tasmota, issue "HA mqtt auto discovery fails partially".
TASMOTA = (
    "homeassistant/sensor/ED76DA_DS18B20-2_Temperature/config",
    '{"name":"nodeMCU Test DS18B20-2 Temperature","stat_t":"~SENSOR","avty_t":"~LWT",'
    '"pl_avail":"Online","pl_not_avail":"Offline","uniq_id":"ED76DA_DS18B20-2_Temperature",'
    '"device":{"identifiers":["ED76DA"],"connections":[["mac","00:00:5E:ED:76:DA"]]},'
    '"~":"DVES_ED76DA/tele/","unit_of_meas":"\u00b0C","dev_cla":"temperature",'
    '"val_tpl":"{{value_json[\'DS18B20-2\'].Temperature}}"}',
)
# Home Assistant's documentation, page "MQTT", "Device discovery payload".
KITCHEN = (
    "homeassistant/device/ea334450945afc/config",
    '{"dev":{"ids":"ea334450945afc","name":"Kitchen","mf":"Bla electronics","mdl":"xya",'
    '"sw":"1.0","sn":"ea334450945afc","hw":"1.0rev2"},'
    '"o":{"name":"bla2mqtt","sw":"2.1","url":"https://bla2mqtt.example.com/support"},'
    '"cmps":{"some_unique_component_id1":{"p":"sensor","device_class":"temperature",'
    '"unit_of_measurement":"\u00b0C","value_template":"{{ value_json.temperature}}",'
    '"unique_id":"temp01ae_t"},"some_unique_id2":{"p":"sensor","device_class":"humidity",'
    '"unit_of_measurement":"%","value_template":"{{ value_json.humidity}}",'
    '"unique_id":"temp01ae_h"},"bla1":{"p":"device_automation","automation_type":"trigger",'
    '"payload":"short_press","topic":"foobar/triggers/button1"}},'
    '"state_topic":"sensorBedroom/state","qos":2}',
)
