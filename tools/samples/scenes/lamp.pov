#version 3.7;
#include "studio.inc"
// A table lamp: turned walnut, brass, a linen shade with the light on.

Studio(1.25, <0.90, 0.895, 0.885>, 0.88, 1)
Lens(<0.2, 3.4, -15>, <0.0, 2.06, 0>, 14.2)

#declare Walnut = texture { Wood(<0.27, 0.13, 0.058>, <0.10, 0.042, 0.018>) scale 0.12 rotate 87*x rotate 3*z translate <1.1, 0, 1.6> finish { F_Satin } }
#declare WalnutPores = texture { Pores(<0.05, 0.02, 0.01>) rotate 87*x finish { F_Satin } }
#declare Linen = texture {
  pigment {
    average
    pigment_map {
      [1 radial frequency 260 triangle_wave color_map { [0 rgb <0.62, 0.30, 0.055>] [1 rgb <0.80, 0.44, 0.11>] } warp { turbulence 0.002 }]
      [1 gradient y triangle_wave scale 0.022 color_map { [0 rgb <0.62, 0.30, 0.055>] [1 rgb <0.80, 0.44, 0.11>] }]
      [0.7 bozo scale <0.05, 0.008, 0.05> color_map { [0 rgb <0.58, 0.28, 0.05>] [1 rgb <0.84, 0.48, 0.13>] }]
      [0.7 bozo scale <0.008, 0.06, 0.008> color_map { [0 rgb <0.58, 0.28, 0.05>] [1 rgb <0.84, 0.48, 0.13>] }]
    }
  }
  normal { average normal_map { [1 radial 0.25 frequency 260 triangle_wave] [1 gradient y 0.25 triangle_wave scale 0.022] } }
  finish { ambient 0 diffuse 0.72 }
}
// the bulb's glow through the cloth, strongest around the bulb's height
#declare Glow = texture {
  pigment {
    function { exp(-pow((y - 2.95)/0.62, 2)) }
    color_map { [0 rgb <1.0, 0.62, 0.20> transmit 1] [1 rgb <1.0, 0.66, 0.24> transmit 0.38] }
  }
  finish { ambient 0 diffuse 0 emission 1.0 }
}

// base
lathe {
  bezier_spline 36
  <0.00, 0.00>, <0.30, 0.00>, <0.60, 0.00>, <0.72, 0.00>
  <0.72, 0.00>, <0.77, 0.00>, <0.78, 0.08>, <0.73, 0.11>
  <0.73, 0.11>, <0.60, 0.16>, <0.34, 0.14>, <0.27, 0.24>
  <0.27, 0.24>, <0.25, 0.28>, <0.25, 0.30>, <0.29, 0.33>
  <0.29, 0.33>, <0.62, 0.52>, <0.66, 0.92>, <0.40, 1.26>
  <0.40, 1.26>, <0.28, 1.42>, <0.20, 1.52>, <0.17, 1.70>
  <0.17, 1.70>, <0.16, 1.76>, <0.25, 1.78>, <0.25, 1.83>
  <0.25, 1.83>, <0.25, 1.88>, <0.20, 1.90>, <0.14, 1.90>
  <0.14, 1.90>, <0.10, 1.90>, <0.05, 1.90>, <0.00, 1.90>
  sturm
  texture { Walnut }
  texture { WalnutPores }
}
torus { 0.278, 0.030 translate 0.30*y texture { T_Brass } }
cylinder { 1.88*y, 2.5*y, 0.055 texture { T_Brass } }
cylinder { 1.88*y, 1.96*y, 0.12 texture { T_Brass } }
cylinder { 2.2*y, 2.5*y, 0.12 texture { T_Brass } }

// shade: a thin conical wall, with stitched hems and a spider
#declare Y0 = 2.18; #declare Y1 = 3.86; #declare R0 = 1.27; #declare R1 = 0.86;
difference {
  cone { Y0*y, R0, Y1*y, R1 }
  cone { (Y0-0.01)*y, R0-0.022, (Y1+0.01)*y, R1-0.022 }
  texture { Linen }
  texture { Glow }
}
#declare Hem = texture { pigment { rgb <0.52, 0.25, 0.05> } normal { bumps 0.2 scale 0.02 } finish { F_Matte emission 0.12 } }
difference {
  union {
    cone { Y0*y, R0+0.010, (Y0+0.07)*y, R0+0.010-0.07*(R0-R1)/(Y1-Y0) }
    cone { (Y1-0.07)*y, R1+0.010+0.07*(R0-R1)/(Y1-Y0), Y1*y, R1+0.010 }
  }
  cone { (Y0-0.01)*y, R0-0.004, (Y1+0.01)*y, R1-0.004 }
  texture { Hem }
}
torus { R0-0.004, 0.016 translate Y0*y texture { Hem } }
torus { R1-0.004, 0.016 translate Y1*y texture { Hem } }
#for (A, 0, 240, 120) cylinder { <0, Y1-0.12, 0>, <R1-0.01, Y1-0.04, 0>, 0.018 rotate (A+20)*y texture { T_Brass } } #end
cylinder { 2.4*y, (Y1-0.1)*y, 0.02 texture { T_Brass } }
sphere { (Y1-0.08)*y, 0.055 texture { T_Brass } }
sphere { 2.85*y, 0.2 pigment { rgb <1, 0.82, 0.55> } finish { ambient 0 diffuse 0 emission 2.5 } no_shadow no_radiosity }
light_source { 2.85*y, rgb <1, 0.72, 0.38>*0.55 fade_distance 0.9 fade_power 2 }
